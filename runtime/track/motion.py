"""Constant-velocity Kalman filter of a person's position in the image, in real seconds."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
"""(2,): x and y."""

FIRST_SPEED = 1.0
"""Standard deviation of the speed of a person seen once, in sizes a second."""


@dataclass(frozen=True)
class Motion:
    """Position and speed of one person. x and y share one covariance, since they are measured and moved alike."""

    place: Vector
    """Image px."""
    speed: Vector
    """Image px a second."""
    covariance: NDArray[np.float64]
    """(2, 2) of position and speed, in sizes of the person and sizes a second."""

    @classmethod
    def at(cls, place: Vector, noise: float) -> "Motion":
        """Of a person seen for the first time; `noise` is the standard deviation of the position in sizes."""
        return cls(place, np.zeros(2), np.diag((noise**2, FIRST_SPEED**2)))

    def predicted(self, seconds: float, agility: float, slowing_s: float | None = None) -> "Motion":
        """The state `seconds` later; `agility` in sizes a second, gathered in one second, is the speed's random change.

        With `slowing_s`, the time constant for a person who is not seen, the speed decays. However the time is divided
        into steps, place and speed come out the same.
        """
        if seconds <= 0:
            return self
        left = 1.0 if slowing_s is None else float(np.exp(-seconds / slowing_s))
        reach = seconds if slowing_s is None else slowing_s * (1 - left)
        move = np.array(((1.0, reach), (0.0, left)))
        # Integrated white noise of the acceleration (Bar-Shalom, Li and Kirubarajan, 2001, section 6.2.2)
        added = agility**2 * np.array(((seconds**3 / 3, seconds**2 / 2), (seconds**2 / 2, seconds)))
        covariance = move @ self.covariance @ move.T + added
        return replace(self, place=self.place + reach * self.speed, speed=left * self.speed, covariance=covariance)

    def updated(self, place: Vector, noise: float) -> "Motion":
        """After a measurement of the position in image px; `noise` is its standard deviation in sizes."""
        gain = self.covariance[:, 0] / (self.covariance[0, 0] + noise**2)
        off = place - self.place
        covariance = self.covariance - np.outer(gain, self.covariance[0])
        return Motion(self.place + gain[0] * off, self.speed + gain[1] * off, covariance)

    def distance(self, place: Vector, size: float, noise: float) -> float:
        """Mahalanobis distance of a measured position in image px, for a person of `size` px."""
        spread = size * np.sqrt(self.covariance[0, 0] + noise**2)
        return float(np.linalg.norm(place - self.place) / spread)

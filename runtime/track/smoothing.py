"""One-Euro filter of a person's joints with real time steps (Casiez, Roussel and Vogel, CHI 2012)."""

import numpy as np
from numpy.typing import NDArray

from .options import SmoothOptions


class OneEuro:
    """Smooths the joints (K, 2) of one person; speeds are in sizes of the person a second: near and far are alike."""

    def __init__(self, options: SmoothOptions) -> None:
        self._options = options
        self._joints: NDArray[np.float64] | None = None
        self._raw: NDArray[np.float64] | None = None
        self._speed = np.zeros(0)

    def __call__(self, joints: NDArray[np.float64], size: float, seconds: float) -> NDArray[np.float64]:
        """Smoothed joints (K, 2) in px, `seconds` after the last ones, of a person of `size` px."""
        if self._joints is None or self._raw is None:
            self._joints, self._raw, self._speed = joints, joints, np.zeros_like(joints)
            return joints
        if seconds <= 0:
            return self._joints
        speed = (joints - self._raw) / size / seconds
        options = self._options
        self._speed = self._speed + _share(options.speed_cutoff_hz, seconds) * (speed - self._speed)
        pace = np.linalg.norm(self._speed, axis=1, keepdims=True)
        share = _share(options.min_cutoff_hz + options.beta * pace, seconds)
        self._joints, self._raw = self._joints + share * (joints - self._joints), joints
        return self._joints


def _share(cutoff_hz: float | NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """Share of the new value in a first-order low-pass filter: the paper's alpha, 1 / (1 + tau / Te)."""
    return np.asarray(1 / (1 + 1 / (2 * np.pi * np.asarray(cutoff_hz) * seconds)))

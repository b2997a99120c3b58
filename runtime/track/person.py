"""One tracked person: where they were, how they move, and how sure the network was of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .matching import boxes_of, sizes_of
from .motion import Motion, Vector
from .options import TrackerOptions
from .smoothing import OneEuro

SCORE_SHARE = 0.1  # of the newest pose in a track's mean score


@dataclass
class Person:
    """A track. `TrackState` owns it and changes it."""

    points: NDArray[np.float64]
    """(K, 3) x, y in image px and score, as last found and since then moved by the prediction."""
    box: NDArray[np.float64]
    """(4,) xyxy in image px of the next crop, if no detection says better."""
    crop: NDArray[np.float64]
    """(4,) xyxy in image px of the crop in which the pose was last found."""
    size: float
    """Px: the square root of the area of the box around the joints."""
    motion: Motion
    born_s: float
    found_s: float
    """When its pose was last found."""
    detected_s: float
    """When a detection last supported it."""
    score: float
    """Mean score of its joints over some ten frames."""
    hidden: bool = False
    """Whether it was born where somebody who is known stands."""
    smoother: OneEuro | None = None
    smoothed: NDArray[np.float64] | None = None
    """(K, 2) image px."""
    identity: int = 0
    """0: not reported yet."""
    visible: bool = True
    """Whether its pose was found in the last frame."""

    @classmethod
    def born(
        cls, points: NDArray[np.float64], crop: NDArray[np.float64], time_s: float, options: TrackerOptions
    ) -> "Person":
        """Of a pose (K, 3) in a detected box (4,)."""
        box = boxes_of(points[None])[0]
        person = cls(
            points=points,
            box=box,
            crop=crop,
            size=float(sizes_of(box)),
            motion=Motion.at(centre_of(points), options.position_noise),
            born_s=time_s,
            found_s=time_s,
            detected_s=time_s,
            score=float(points[:, 2].mean()),
            smoother=OneEuro(options.smooth) if options.smooth else None,
        )
        person._smooth(0.0)
        return person

    @property
    def sure(self) -> bool:
        """Whether it is reported, and its pose was found in the last frame."""
        return self.visible and self.identity > 0

    def advance(self, seconds: float, options: TrackerOptions) -> None:
        """Move to where the person is expected `seconds` later."""
        slowing_s = None if self.visible else options.slowing_s
        moved = self.motion.predicted(seconds, options.agility, slowing_s)
        shift = moved.place - self.motion.place
        self.points = np.concatenate((self.points[:, :2] + shift, self.points[:, 2:]), axis=1)
        self.box, self.motion = self.box + np.tile(shift, 2), moved

    def found(self, points: NDArray[np.float64], time_s: float, detected: bool, options: TrackerOptions) -> None:
        """Take the pose (K, 3) that was found, in a detected box or not."""
        seconds = time_s - self.found_s
        self.motion = self.motion.updated(centre_of(points), options.position_noise)
        self.points, self.box = points, boxes_of(points[None])[0]
        self.size = float(sizes_of(self.box))
        self.found_s, self.visible = time_s, True
        self.detected_s = time_s if detected else self.detected_s
        self.score += SCORE_SHARE * (float(points[:, 2].mean()) - self.score)
        self._smooth(seconds)

    def _smooth(self, seconds: float) -> None:
        if self.smoother is not None:
            self.smoothed = self.smoother(self.points[:, :2], self.size, seconds)


def centre_of(points: NDArray[np.float64]) -> Vector:
    """Mean (2,) in image px of a person's joints (K, 3), by their scores."""
    weights = points[:, 2].clip(1e-6)
    return np.asarray((points[:, :2] * weights[:, None]).sum(0) / weights.sum())

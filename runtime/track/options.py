"""Settings of the tracker. Every time is in seconds, every length a share of the person's size."""

from dataclasses import dataclass, fields

MOST_TRACKS = 4
"""A stream remembers at most this many times `max_people` tracks."""


@dataclass(frozen=True)
class SmoothOptions:
    """One-Euro filter of each joint (Casiez et al., CHI 2012), on coordinates divided by the person's size."""

    min_cutoff_hz: float = 1.5
    """Cutoff of a joint at rest: lower is smoother."""
    beta: float = 4.0
    """Hz of cutoff added for each person's size a second that the joint moves: higher lags less."""
    speed_cutoff_hz: float = 2.0
    """Cutoff of the joint's own speed."""

    def __post_init__(self) -> None:
        if not (self.min_cutoff_hz > 0 and self.beta >= 0 and self.speed_cutoff_hz > 0):
            raise ValueError(f"{self}: expected positive cutoffs and a beta of at least 0")


@dataclass(frozen=True)
class TrackerOptions:
    """The size of a person is the square root of the area of the box around the joints."""

    max_people: int = 16
    """Largest number of people in a frame; they are one batch of the network."""
    death_s: float = 2.0
    """A track that was not seen for this long ends."""
    birth_s: float = 0.15
    """A track that begins after the first frame is reported once it has been detected for this long."""
    hidden_birth_s: float = 1.0
    """The same where somebody who is known stands in most of the box: detectors see a third person in an embrace."""
    hidden_share: float = 0.7
    """Share of a box within that of one known person from which on it counts as such."""
    min_score: float = 0.15
    """Lowest mean score of the joints of a pose that counts as one."""
    keep_score: float = 0.7
    """A pose that no detection supports counts if its score is at least this share of the track's mean score."""
    support_s: float = 0.7
    """A track that detections did not support for this long counts as not seen, whatever its score."""
    match_iou: float = 0.3
    """Lowest IoU of boxes that match."""
    match_oks: float = 0.2
    """Lowest similarity of keypoints that match."""
    duplicate_iou: float = 0.7
    """A box that overlaps a better one by more than this is not given to the network."""
    duplicate_oks: float = 0.85
    """Of two poses that are more similar than this one is dropped."""
    match_distance: float = 3.0
    """Farthest that a person who was lost may be found again, in standard deviations of the predicted position."""
    match_noise: float = 0.15
    """Standard deviation of the position at which a person who was lost is found again."""
    position_noise: float = 0.03
    """Standard deviation of a measured position."""
    agility: float = 1.0
    """How much a person's speed changes in one second (standard deviation), in sizes a second."""
    size_noise: float = 0.25
    """Standard deviation of the logarithm of a person's size, when somebody is found again."""
    slowing_s: float = 1.0
    """Time constant with which the speed of a person who is not seen decays."""
    smooth: SmoothOptions | None = None
    """None: keypoints are not smoothed."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("smooth", "birth_s", "hidden_birth_s"):
                continue
            if not value > 0:
                raise ValueError(f"{field.name} is {value}, expected a number above 0")
        if not 0 <= self.birth_s <= self.hidden_birth_s:
            raise ValueError(
                f"birth_s is {self.birth_s} and hidden_birth_s {self.hidden_birth_s}, expected 0 or "
                "more, and hidden_birth_s no less than birth_s"
            )
        for name in (
            "hidden_share",
            "match_iou",
            "match_oks",
            "duplicate_iou",
            "duplicate_oks",
            "keep_score",
            "min_score",
        ):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at most 1")

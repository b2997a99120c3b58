"""Parity: the numerical difference between a graph and PyTorch on the same crops."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pose.heatmap import DecodeMethod
from ..pose.points import crop_points
from ..pose.spec import PoseSpec

HEATMAP_TOLERANCE = 1e-4  # of the heatmaps' range
DRIFT_TOLERANCE_PX = 0.01  # crop px


@dataclass(frozen=True)
class Parity:
    """Differences between a graph and the PyTorch network on the same crops."""

    rung: str
    crops: int
    heatmap_range: float
    heatmap_difference: float
    """Largest absolute difference of a cell."""
    joints: int
    near_ties: int
    """Joints whose arg-max or quarter offset may jump: its margin is less than twice the heatmap's difference."""
    drift_px: float
    """Largest distance between the decoded points of the other joints, in crop px."""
    near_tie_drift_px: float
    """Largest distance among the near-ties, in crop px: reported, not judged."""

    @property
    def passed(self) -> bool:
        """Whether both differences are within HEATMAP_TOLERANCE and DRIFT_TOLERANCE_PX."""
        close = self.heatmap_difference <= HEATMAP_TOLERANCE * self.heatmap_range
        return self.crops > 0 and close and self.drift_px <= DRIFT_TOLERANCE_PX

    def facts(self) -> dict[str, Any]:
        """For the manifest and for --json."""
        return {**asdict(self), "passed": self.passed}


def heatmap_parity(rung: str, expected: NDArray[np.float32], found: NDArray[np.float32], spec: PoseSpec) -> Parity:
    """Parity of a graph's heatmaps `found` with the expected ones, both (N, K, h, w)."""
    difference = np.abs(found - expected).max((2, 3))
    settled = settled_joints(expected, 2 * difference, spec.decode)
    points = [crop_points(heatmaps, spec)[..., :2] for heatmaps in (expected, found)]
    drift = np.linalg.norm(points[1] - points[0], axis=2)
    return Parity(
        rung=rung,
        crops=len(expected),
        heatmap_range=float(np.ptp(expected)),
        heatmap_difference=float(difference.max(initial=0)),
        joints=drift.size,
        near_ties=int((~settled).sum()),
        drift_px=float(drift[settled].max(initial=0)),
        near_tie_drift_px=float(drift[~settled].max(initial=0)),
    )


def settled_joints(
    heatmaps: NDArray[np.float32], margin: NDArray[np.float32], method: DecodeMethod
) -> NDArray[np.bool_]:
    """Mask (N, K) of joints whose decoding cannot jump if every cell changes by half of `margin` (N, K)."""
    people, joints, _, width = heatmaps.shape
    flat = heatmaps.reshape(people, joints, -1)
    second, first = np.moveaxis(np.partition(flat, -2, axis=-1)[..., -2:], -1, 0)
    settled = first - second > margin
    if method != "quarter":
        return settled
    row, column = np.divmod(flat.argmax(-1), width)
    framed = np.pad(heatmaps, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    person, joint = np.indices((people, joints))
    across = framed[person, joint, row + 1, column + 2] - framed[person, joint, row + 1, column]
    along = framed[person, joint, row + 2, column + 1] - framed[person, joint, row, column + 1]
    # On the border there is no offset that could jump: NaN compares as false.
    return settled & ~(np.abs(across) <= margin) & ~(np.abs(along) <= margin)


def total(name: str, parts: Sequence[Parity]) -> Parity:
    """Combine the parities of several batches."""
    return Parity(
        rung=name,
        crops=sum(part.crops for part in parts),
        heatmap_range=max((part.heatmap_range for part in parts), default=0.0),
        heatmap_difference=max((part.heatmap_difference for part in parts), default=0.0),
        joints=sum(part.joints for part in parts),
        near_ties=sum(part.near_ties for part in parts),
        drift_px=max((part.drift_px for part in parts), default=0.0),
        near_tie_drift_px=max((part.near_tie_drift_px for part in parts), default=0.0),
    )

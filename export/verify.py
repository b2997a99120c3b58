"""The parity ladder: the same crops through PyTorch and through every graph of a bundle."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pose.batches import crop_batches
from ..pose.coco import read_coco
from ..pose.heatmap import DecodeMethod, cells_to_crop, decode
from ..pose.spec import PoseSpec
from ..runtime.bundle import WEIGHTS, Bundle
from ..runtime.session import Session, open_session

Crops = NDArray[np.float32]

BATCHES = (1, 2, 7)
HEATMAP_TOLERANCE = 1e-4  # of the heatmaps' range
DRIFT_TOLERANCE_PX = 0.01  # crop px


@dataclass(frozen=True)
class Parity:
    """How far one graph is from the PyTorch network on the same crops."""

    rung: str
    crops: int
    heatmap_range: float
    heatmap_difference: float
    """Largest absolute difference of a cell."""
    joints: int
    near_ties: int
    """Joints whose arg-max, or quarter offset, rests on less than twice their heatmap's difference: it may jump."""
    drift_px: float
    """Largest distance between the decoded points of the other joints, in crop px."""
    near_tie_drift_px: float
    """The same among the near-ties: shown, not judged."""

    @property
    def passed(self) -> bool:
        """Within 1e-4 of the range and 0.01 crop px."""
        close = self.heatmap_difference <= HEATMAP_TOLERANCE * self.heatmap_range
        return self.crops > 0 and close and self.drift_px <= DRIFT_TOLERANCE_PX

    def facts(self) -> dict[str, Any]:
        """For the manifest and for --json."""
        return {**asdict(self), "passed": self.passed}


def verify_bundle(bundle: Bundle, batches: Iterable[Crops]) -> list[Parity]:
    """Hold every FP32 graph of a bundle to its own PyTorch weights, on batches of crops."""
    reference = open_session(bundle.path(WEIGHTS), "cpu")
    rungs = {name: open_session(bundle.path(name), "cpu") for name in bundle.artefacts if name != WEIGHTS}
    return compare(reference, rungs, batches, bundle.spec.decode)


def compare(
    reference: Session, rungs: dict[str, Session], batches: Iterable[Crops], method: DecodeMethod
) -> list[Parity]:
    """Run every batch through the reference and through each rung."""
    parts: dict[str, list[Parity]] = {name: [] for name in rungs}
    for crops in batches:
        expected = reference.run(crops)
        for name, session in rungs.items():
            parts[name].append(heatmap_parity(name, expected, session.run(crops), method))
    return [_total(name, measured) for name, measured in parts.items()]


def heatmap_parity(
    rung: str, expected: NDArray[np.float32], found: NDArray[np.float32], method: DecodeMethod
) -> Parity:
    """Parity of heatmaps (N, K, h, w)."""
    difference = np.abs(found - expected).max((2, 3))
    settled = settled_joints(expected, 2 * difference, method)
    points = [cells_to_crop(decode(heatmaps, method)[0]) for heatmaps in (expected, found)]
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
    """(N, K): joints whose decoding cannot jump when every cell changes by half of `margin` (N, K)."""
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
    # On the border there is no offset, hence nothing that could jump: NaN compares as false.
    return settled & ~(np.abs(across) <= margin) & ~(np.abs(along) <= margin)


def random_crops(spec: PoseSpec, seed: int = 0) -> Iterator[Crops]:
    """Noise, one batch of each size."""
    rng = np.random.default_rng(seed)
    for size in BATCHES:
        yield rng.standard_normal((size, 3, *spec.input_size), dtype=np.float32)


def photograph_crops(folder: Path, spec: PoseSpec) -> Iterator[Crops]:
    """Every person with keypoints of a COCO folder, in batches of 1, 2, 7, 1, 2, 7, ..."""
    people = read_coco(folder, spec.joints).with_keypoints()
    return (crops for crops, _ in crop_batches(people, spec, cycle(BATCHES)))


def _total(name: str, parts: list[Parity]) -> Parity:
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

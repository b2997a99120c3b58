"""Drift: the differences in keypoints and metrics between a network and its reference, such as INT8 and FP32."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .batches import LabelledBatch
from .evaluate import metrics_by_person
from .metrics import COCO_METRICS, oks
from .points import crop_points
from .results import SURE_JOINT
from .spec import PoseSpec

MOVED_PX = 3.0  # crop px: a larger distance means that the arg-max is at another peak
SEGMENT = 0.53  # COCO's median share of a box that the person covers, for people without a segment


@dataclass(frozen=True)
class Drift:
    """Differences between a network and its reference on the same crops. Distances are in crop px."""

    people: int
    heatmap_range: float
    """Range (max - min) of the reference's heatmaps."""
    heatmap_max: float
    heatmap_mean: float
    """Largest and mean absolute difference of a cell."""
    sure: float
    """Share of joints whose reference score is above 0.2 (sure joints)."""
    joints: int
    """Number of joints counted below: the sure ones, or all if none is sure."""
    median_px: float
    p99_px: float
    moved: float
    """Share of joints that moved by more than MOVED_PX."""
    oks: float
    """Mean OKS against the reference's keypoints."""
    oks_error: float
    """Standard error of `oks` over the people."""
    ap: float | None
    """AP against the labels, each person in their own crop; None without labels."""
    reference_ap: float | None
    by_joint: Mapping[str, tuple[float | None, float | None]]
    """Median and 99th percentile by joint, crop px; None if no such joint was counted."""

    @property
    def oks_drop(self) -> float:
        """1 - OKS."""
        return 1 - self.oks

    @property
    def ap_drop(self) -> float | None:
        """Loss of AP; negative for a gain."""
        return None if self.ap is None or self.reference_ap is None else self.reference_ap - self.ap

    def facts(self) -> dict[str, Any]:
        """For a manifest and for --json; `parse(Drift, facts)` reads them back."""
        return {**asdict(self), "oks_drop": self.oks_drop, "ap_drop": self.ap_drop}


class Comparison:
    """Accumulates a drift over batches; it stores decoded points, not heatmaps, to save memory."""

    def __init__(self, spec: PoseSpec) -> None:
        self.spec = spec
        self._truth: list[NDArray[np.float64]] = []
        self._areas: list[NDArray[np.float64]] = []
        self._expected: list[NDArray[np.float32]] = []
        self._found: list[NDArray[np.float32]] = []
        self._low, self._high, self._max, self._sum, self._cells = np.inf, -np.inf, 0.0, 0.0, 0

    def update(self, expected: NDArray[np.float32], found: NDArray[np.float32], batch: LabelledBatch) -> None:
        """Add both networks' heatmaps (n, K, h, w) for a batch; ValueError for NaN or infinity."""
        if not np.isfinite(found).all():
            raise ValueError("its heatmaps hold NaN or infinity")
        difference = np.abs(found - expected)
        self._low, self._high = min(self._low, float(expected.min())), max(self._high, float(expected.max()))
        self._max = max(self._max, float(difference.max()))
        self._sum, self._cells = self._sum + float(difference.sum(dtype=np.float64)), self._cells + difference.size
        self._expected.append(crop_points(expected, self.spec))
        self._found.append(crop_points(found, self.spec))
        self._truth.append(batch[1])
        self._areas.append(batch[2])

    def drift(self) -> Drift:
        """The drift over all batches so far."""
        if not self._expected:
            raise ValueError("nobody was compared: there are no crops")
        expected, found, truth = (np.concatenate(part) for part in (self._expected, self._found, self._truth))
        height, width = self.spec.input_size
        areas = np.concatenate(self._areas)
        areas = np.where(areas > 0, areas, SEGMENT * height * width / self.spec.padding**2)
        sure = expected[..., 2] > SURE_JOINT
        counted = sure if sure.any() else np.ones_like(sure)
        moved = np.linalg.norm(found[..., :2] - expected[..., :2], axis=2)
        reference = np.concatenate((expected[..., :2], counted[..., None]), axis=2, dtype=np.float64)
        alike = oks(found[..., :2], reference, areas, self.spec.skeleton)
        alike = alike[~np.isnan(alike)]  # NaN: a person without counted joints
        figures = [None, None]
        if (truth[..., 2] > 0).any():
            both = (metrics_by_person(points, truth, areas, self.spec) for points in (found, expected))
            figures = [each[COCO_METRICS[0]] for each in both]
        columns = zip(self.spec.skeleton.joints, moved.T, counted.T, strict=True)
        return Drift(
            people=len(expected),
            heatmap_range=self._high - self._low,
            heatmap_max=self._max,
            heatmap_mean=self._sum / self._cells,
            sure=float(sure.mean()),
            joints=int(counted.sum()),
            median_px=float(np.median(moved[counted])),
            p99_px=float(np.percentile(moved[counted], 99)),
            moved=float((moved[counted] > MOVED_PX).mean()),
            oks=float(alike.mean()),
            oks_error=float(alike.std() / np.sqrt(len(alike))),
            ap=figures[0],
            reference_ap=figures[1],
            by_joint={name: _spread(px[rows]) for name, px, rows in columns},
        )


def _spread(px: NDArray[np.floating]) -> tuple[float | None, float | None]:
    if not len(px):
        return None, None
    return float(np.median(px)), float(np.percentile(px, 99))

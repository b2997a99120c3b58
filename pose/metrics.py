"""Metrics: OKS, COCO AP, PCK and MPII PCKh."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .overlap import suppress
from .skeleton import Skeleton

COCO_METRICS = ("AP", "AP50", "AP75", "AP(M)", "AP(L)", "AR", "AR50", "AR75", "AR(M)", "AR(L)")
"""In the order of COCOeval's keypoint statistics."""
RIGHT_OKS = 0.5  # of a joint that may be drawn
DRAWN_SHARE = 0.5  # of the labelled joints
DUPLICATE_OKS = 0.9  # HRNet: threshold of OKS-NMS


def for_json(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Figures for JSON, with NaN replaced by None."""
    return {name: None if np.isnan(figure) else figure for name, figure in figures.items()}


def oks(
    points: NDArray[np.floating], truth: NDArray[np.floating], areas: NDArray[np.floating], skeleton: Skeleton
) -> NDArray[np.float64]:
    """Object keypoint similarity (N,) of points (N, K, 2) with labels (N, K, 3), over the labelled joints.

    The joints' similarities (`joint_oks`) averaged; `areas` (N,) in px^2. NaN where no joint is labelled.
    """
    similar = joint_oks(points, truth, areas, skeleton)
    labelled = truth[..., 2] > 0
    counts = labelled.sum(1)
    return np.where(counts > 0, (similar * labelled).sum(1) / np.maximum(counts, 1), np.nan)


def joint_oks(
    points: NDArray[np.floating], truth: NDArray[np.floating], areas: NDArray[np.floating], skeleton: Skeleton
) -> NDArray[np.float64]:
    """Similarity (N, K) of each joint: exp(-d^2 / (2 area (2 sigma)^2)) (cocodataset.org, keypoint evaluation)."""
    squares = ((points - truth[..., :2]) ** 2).sum(2)
    variances = (2 * np.array(skeleton.sigmas)) ** 2
    return np.exp(-squares / (2 * variances * (areas[:, None] + np.spacing(1))))


def confident_score(
    keypoints: NDArray[np.floating],
    truth: NDArray[np.floating],
    areas: NDArray[np.floating],
    skeleton: Skeleton,
    precisions: Sequence[float] = (0.9, 0.8),
) -> float | None:
    """Lowest score from which on a joint may be drawn: of the labelled joints with it or more, enough are right.

    `keypoints` (N, K, 3) are x, y and score; a joint is right where its similarity is at least 0.5. Enough is the first
    of `precisions` at which half of the labelled joints are drawn: a weak network that has to be nearly always right
    would show nothing. None where there is no such one, as for an untrained network.
    """
    labelled = truth[..., 2] > 0
    scores = keypoints[..., 2][labelled]
    right = joint_oks(keypoints[..., :2], truth, areas, skeleton)[labelled] >= RIGHT_OKS
    order = np.argsort(-scores, kind="stable")
    shares = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    for precision in precisions:
        enough = np.flatnonzero(shares >= precision)
        if len(enough) and enough[-1] + 1 >= DRAWN_SHARE * len(order):
            return float(scores[order[enough[-1]]])
    return None


def oks_nms(
    keypoints: NDArray[np.floating], scores: NDArray[np.floating], areas: NDArray[np.floating], skeleton: Skeleton
) -> NDArray[np.intp]:
    """OKS-based non-maximum suppression within one image: row indices (n,) to keep, best score first."""

    def similarity(best: int, left: NDArray[np.intp]) -> NDArray[np.float64]:
        mean_areas = (areas[best] + areas[left]) / 2
        return joint_oks(keypoints[best : best + 1, :, :2], keypoints[left], mean_areas, skeleton).mean(1)

    return suppress(scores, similarity, DUPLICATE_OKS)


def coco_metrics(labels: dict[str, Any], results: Sequence[dict[str, Any]], skeleton: Skeleton) -> dict[str, float]:
    """COCO keypoint metrics (AP, AP .5, AR, ...) of results against the content of a label file, by pycocotools.

    Annotation ids must be at least 1: pycocotools treats 0 as unmatched. NaN if there are no people of a size class.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise ImportError("AP needs pycocotools: pip install 'lehrnet[train]'") from error
    if not results:
        return dict.fromkeys(COCO_METRICS, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = labels  # pyright: ignore[reportAttributeAccessIssue] - its stub wants a typed dict
        truth.createIndex()
        copies: Any = [dict(result) for result in results]  # loadRes writes into them
        evaluation = COCOeval(truth, truth.loadRes(copies), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = (float(figure) if figure >= 0 else float("nan") for figure in evaluation.stats)
    return dict(zip(COCO_METRICS, figures, strict=True))


def pck(
    points: NDArray[np.floating], truth: NDArray[np.floating], sizes: NDArray[np.floating], threshold: float
) -> NDArray[np.float64]:
    """PCK by joint (K,): share of labelled joints whose point is within `threshold` times the person's size.

    `points` (N, K, 2) and `sizes` (N,) are in px; with head sizes it is PCKh. NaN for joints without labels. The mean
    of MPII leaves out pelvis and thorax, see `mpii_metrics`.
    """
    distances = np.linalg.norm(points - truth[..., :2], axis=2) / sizes[:, None]
    labelled = truth[..., 2] > 0
    counts = labelled.sum(0)
    hits = ((distances <= threshold) & labelled).sum(0)
    return np.where(counts > 0, hits / np.maximum(counts, 1), np.nan)


def mpii_metrics(
    points: NDArray[np.floating], truth: NDArray[np.floating], head_sizes: NDArray[np.floating]
) -> dict[str, float]:
    """The MPII table, from 0 to 1: PCKh@0.5 by pairs of joints, then the means of PCKh@0.5 and @0.1 over all labels."""
    pairs = {"head": (8, 9), "shoulder": (12, 13), "elbow": (11, 14), "wrist": (10, 15), "hip": (2, 3)}
    pairs |= {"knee": (1, 4), "ankle": (0, 5)}
    scored = [joint for joint in range(truth.shape[1]) if joint not in (6, 7)]  # pelvis, thorax
    counts = (truth[..., 2] > 0).sum(0)

    def mean(by_joint: NDArray[np.float64]) -> float:
        return float((np.nan_to_num(by_joint) * counts)[scored].sum() / max(counts[scored].sum(), 1))

    half, tenth = pck(points, truth, head_sizes, 0.5), pck(points, truth, head_sizes, 0.1)
    table = {name: float(half[list(joints)].mean()) for name, joints in pairs.items()}
    return {**table, "mean": mean(half), "mean@0.1": mean(tenth)}

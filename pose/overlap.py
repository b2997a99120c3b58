"""How boxes overlap: areas, IoU, and the suppression of duplicates by it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
"""(N, 4) xyxy, image px."""


def areas(boxes: Boxes) -> NDArray[np.float64]:
    """Areas (...) in px^2 of boxes (..., 4); 0 where the corners are out of order."""
    return (boxes[..., 2:] - boxes[..., :2]).clip(0).prod(-1)


def iou(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """IoU (N, M) of boxes (N, 4) and (M, 4)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = (high - low).clip(0).prod(-1)
    union = areas(first)[:, None] + areas(second)[None] - common
    return common / np.maximum(union, np.finfo(np.float64).tiny)


def covered(box: NDArray[np.float64], others: Boxes) -> NDArray[np.float64]:
    """Share (N,) of a box (4,) that lies in each of the others (N, 4)."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    return (high - low).clip(0).prod(1) / max(float(areas(box)), np.finfo(np.float64).tiny)


def nms(boxes: Boxes, scores: NDArray[np.floating], threshold: float) -> NDArray[np.intp]:
    """Rows (n,) of the boxes to keep, best score first: those whose IoU with a better one is at most `threshold`."""
    return suppress(scores, lambda best, left: iou(boxes[best : best + 1], boxes[left])[0], threshold)


def suppress(
    scores: NDArray[np.floating],
    similarity: Callable[[int, NDArray[np.intp]], NDArray[np.floating]],
    threshold: float,
) -> NDArray[np.intp]:
    """Rows (n,) to keep, best score first: those whose similarity to a better one that is kept is at most `threshold`.

    `similarity(best, left)` is that of one row to the rows that are left (m,).
    """
    left = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(left):
        best, left = int(left[0]), left[1:]
        kept.append(best)
        left = left[similarity(best, left) <= threshold]
    return np.array(kept, np.intp)

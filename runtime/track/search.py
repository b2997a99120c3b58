"""Finding one person in a frame without a detector: by the network's own scores in windows that are refined."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...pose.overlap import Boxes, iou
from ...pose.skeleton import Skeleton
from .matching import Points, boxes_of, oks_between

LEVELS = (1.0, 0.7, 0.5, 0.35)
"""Heights of the windows, as shares of the frame's height."""
WINDOW_ASPECT = 0.5  # width over height: a person who stands
STEP = 0.6  # of a window's side to the next window
MOST_STARTS = 64  # windows side by side: a panorama's are farther apart
BEST = 6  # windows that are refined
ROUNDS = 6  # at most
SETTLED_IOU = 0.9  # a box has settled when it hardly changes from one round to the next
NUDGES = ((0.1, 0, 0.1, 0), (-0.1, 0, -0.1, 0), (0, 0.1, 0, 0.1), (0, -0.1, 0, -0.1),
          (-0.125, -0.125, 0.125, 0.125), (0.05, 0.05, -0.05, -0.05))  # fmt: skip
"""By how much the found box's x1, y1, x2, y2 are moved to look again, as shares of its width and height."""
STEADY_OKS = 0.85
"""Least mean similarity of a person's joints to those of the moved boxes: joints found on a wall go with the box."""


def find_person(
    look: Callable[[Boxes], Points], width: int, height: int, skeleton: Skeleton, min_score: float
) -> Boxes:
    """Box (1, 4) xyxy in px of the person whom the network is surest of; (0, 4) if there is none.

    The first guess is the whole frame, the others are windows of several sizes. Each round looks at the boxes around
    the joints found in the last one, until they settle. As a heatmap always has a peak, what has settled is a person
    only if its joints stay where they are when the box is moved, and if the network is sure of them.

    Args:
        look: keypoints (N, K, 3), x, y in image px and score, in boxes (N, 4).
        width: px of the frame.
        height: px of the frame.
        skeleton: of the joints.
        min_score: lowest mean score of a person's joints; `PoseSpec.min_score`.
    """
    settled = _settled(look, width, height)
    return settled[: int(len(settled) > 0 and _is_person(look, settled[0], skeleton, min_score))]


def _is_person(look: Callable[[Boxes], Points], box: NDArray[np.float64], skeleton: Skeleton, min_score: float) -> bool:
    """Whether the joints in a box (4,) are sure, and stay where they are in boxes beside it."""
    moved = box + np.array(NUDGES) * np.tile(box[2:] - box[:2], 2)
    points = look(np.concatenate((box[None], moved)))
    steady = float(oks_between(points[:1], points[1:], skeleton).mean())
    return float(points[0, :, 2].mean()) >= min_score and steady >= STEADY_OKS


def _settled(look: Callable[[Boxes], Points], width: int, height: int) -> Boxes:
    """Box (1, 4) of the joints that the network is surest of; (0, 4) if no window settles."""
    boxes = windows(width, height)
    settled, best = np.empty((0, 4)), -np.inf
    for _ in range(ROUNDS):
        points = look(boxes)
        scores = points[..., 2].mean(1)
        found = boxes_of(points)
        steady = np.diagonal(iou(boxes, found)) >= SETTLED_IOU
        if steady.any() and scores[steady].max() > best:
            row = int(np.where(steady, scores, -np.inf).argmax())
            settled, best = found[row : row + 1], float(scores[row])
        if steady[scores.argmax()]:  # nobody who still moves is surer
            break
        boxes = found[np.argsort(-scores, kind="stable")[:BEST]]
    return settled


def windows(width: int, height: int) -> Boxes:
    """The whole frame, and windows (N, 4) that cover it at each of LEVELS."""
    boxes = [(0.0, 0.0, float(width), float(height))]
    for level in LEVELS:
        tall = height * level
        wide = min(tall * WINDOW_ASPECT, width)
        lefts, tops = _starts(width, wide), _starts(height, tall)
        boxes += [(left, top, left + wide, top + tall) for top in tops for left in lefts]
    return np.array(boxes)


def _starts(length: float, side: float) -> list[float]:
    """Where windows of `side` begin, so that they cover `length` at most STEP apart, but no more than MOST_STARTS."""
    count = min(int(np.ceil((length - side) / (STEP * side))) + 1, MOST_STARTS)
    return np.linspace(0, length - side, count).tolist()

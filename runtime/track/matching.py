"""Boxes round keypoints, similarity of people by OKS, and greedy matching by similarity."""

import numpy as np
from numpy.typing import NDArray

from ...pose.overlap import Boxes, areas
from ...pose.skeleton import Skeleton

Points = NDArray[np.float64]
"""(N, K, 3): x and y in image px, and the joint's score."""

SURE = 0.5  # joints count for a box from this share of the mean score of the person's joints
GROW = 0.1  # a box reaches beyond the outer joints by this share of its sides: the crown, hands and feet


def boxes_of(points: Points) -> Boxes:
    """Boxes (N, 4) around the surer joints of each person (N, K, 3), grown by GROW of each side."""
    scores = points[..., 2]
    sure = scores >= np.minimum(SURE * scores.mean(1), scores.max(1))[:, None]  # the surest joint, even below zero
    low = np.where(sure[..., None], points[..., :2], np.inf).min(1)
    high = np.where(sure[..., None], points[..., :2], -np.inf).max(1)
    margin = np.maximum(GROW * (high - low), 1.0)  # px: a box has an area
    return np.concatenate((low - margin, high + margin), axis=1)


def sizes_of(boxes: Boxes) -> NDArray[np.float64]:
    """Sizes (...) in px of people in boxes (..., 4): the square root of the area."""
    return np.sqrt(np.maximum(areas(boxes), 1.0))


def oks_between(first: Points, second: Points, skeleton: Skeleton) -> NDArray[np.float64]:
    """Object keypoint similarity (N, M) of people (N, K, 3) and (M, K, 3).

    A joint weighs as much as its lower score. The area is the mean of the two boxes around the joints.
    """
    spans = (areas(boxes_of(first))[:, None] + areas(boxes_of(second))[None]) / 2
    squares = ((first[:, None, :, :2] - second[None, :, :, :2]) ** 2).sum(-1)
    variances = (2 * np.array(skeleton.sigmas)) ** 2
    similar = np.exp(-squares / (2 * variances * np.maximum(spans, 1.0)[..., None]))
    weights = np.minimum(first[:, None, :, 2], second[None, :, :, 2]).clip(1e-6)
    return (similar * weights).sum(-1) / weights.sum(-1)


def match_greedily(similarity: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs (row, column) by falling similarity (N, M), each row and column once; -inf is never matched."""
    left = similarity.copy()
    pairs = []
    while left.size and np.isfinite(left.max()):
        row, column = (int(place) for place in np.unravel_index(left.argmax(), left.shape))
        pairs.append((row, column))
        left[row], left[:, column] = -np.inf, -np.inf
    return pairs

"""COCO keypoint results: how a person is written, and what their score means, in one place."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import ImageId
from .metrics import oks_nms
from .skeleton import Skeleton

SURE_JOINT = 0.2  # HRNet: joints below it do not count in a person's score


def person_scores(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) the mean score of each person's sure joints; points (N, K, 3), the last being the score (HRNet)."""
    sure = points[..., 2] > SURE_JOINT
    return (points[..., 2] * sure).sum(1) / np.maximum(sure.sum(1), 1)


def coco_results(
    points: NDArray[np.floating],
    boxes: NDArray[np.float64],
    *,
    image_id: ImageId,
    category_id: ImageId,
    skeleton: Skeleton,
    box_scores: NDArray[np.float64] | None = None,
    nms: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """The people of one image as COCO keypoint results, which pycocotools' `loadRes` takes.

    `score` is HRNet's, wherever results are written: the score of the person's box times the mean score of the joints
    above SURE_JOINT. It orders people for AP; it is no probability.

    Args:
        points: (N, K, 3) x and y in image px, and the score of each joint.
        boxes: (N, 4) xyxy in image px.
        image_id: the label file's.
        category_id: the person's in the label file.
        skeleton: whose tolerances OKS takes.
        box_scores: (N,) the detector's; None is 1.
        nms: of people who are alike by OKS (DUPLICATE_OKS) keep the best, best first.
        extra: keys that every result gets besides, such as `file_name`.
    """
    scores = person_scores(points) * (1 if box_scores is None else box_scores)
    sides = boxes[:, 2:] - boxes[:, :2]
    rows = oks_nms(points, scores, sides.prod(1), skeleton) if nms else np.arange(len(points))
    rounded = points.astype(np.float64).round(4)
    return [
        {
            "image_id": image_id,
            "category_id": category_id,
            **(extra or {}),
            "bbox": [*boxes[row, :2].tolist(), *sides[row].tolist()],
            "keypoints": rounded[row].ravel().tolist(),
            "score": float(scores[row]),
        }
        for row in rows.tolist()
    ]

"""COCO keypoint results: the format, and the definition of a person's score."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import ImageId
from .metrics import oks_nms
from .skeleton import Skeleton

SURE_JOINT = 0.2  # HRNet: joints with a lower score do not count in a person's score


def person_scores(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean score (N,) of each person's joints above SURE_JOINT (HRNet); points (N, K, 3) hold x, y, score."""
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
    """The people of one image as COCO keypoint results, as pycocotools' `loadRes` takes them.

    `score` (HRNet): score of the person's box times the mean score of the joints above SURE_JOINT; not a probability.

    Args:
        points: (N, K, 3) x and y in image px, and the score of each joint.
        boxes: (N, 4) xyxy in image px.
        image_id: id of the image in the label file.
        category_id: id of the person category in the label file.
        skeleton: skeleton with the sigmas of OKS.
        box_scores: (N,) scores of the detector; None: 1.
        nms: apply OKS-NMS (threshold DUPLICATE_OKS) and return the best people first.
        extra: additional keys of every result, such as `file_name`.
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

import numpy as np
import pytest

from lehrnet.pose.results import coco_results
from lehrnet.pose.skeleton import COCO17


def people(*scores: float) -> np.ndarray:
    """People (N, 17, 3) side by side, each with one joint score."""
    points = np.random.default_rng(0).uniform(0, 50, (len(scores), 17, 3))
    points[..., 0] += 100 * np.arange(len(scores))[:, None]
    points[..., 2] = np.array(scores)[:, None]
    return points


BOXES = np.array([[0.0, 0, 50, 50], [100, 0, 150, 60]])
FACTS = {"image_id": "a", "category_id": 0, "skeleton": COCO17}


def test_a_score_is_the_box_s_times_the_mean_of_the_sure_joints() -> None:
    points = people(0.5)
    points[0, :5, 2] = 0.1  # HRNet: what is not sure does not count
    (found,) = coco_results(points, BOXES[:1], box_scores=np.array([0.8]), **FACTS)
    assert found["score"] == pytest.approx(0.4)
    assert (found["image_id"], found["category_id"], found["bbox"]) == ("a", 0, [0, 0, 50, 50])


def test_someone_of_whom_nothing_is_sure_scores_nothing() -> None:
    (found,) = coco_results(people(0.1), BOXES[:1], **FACTS)
    assert found["score"] == 0


def test_nms_is_a_choice() -> None:
    points = np.concatenate((people(0.5, 0.6), people(0.7)))
    boxes = np.concatenate((BOXES, BOXES[:1]))
    assert len(coco_results(points, boxes, **FACTS)) == 3
    kept = coco_results(points, boxes, nms=True, **FACTS)
    assert [result["score"] for result in kept] == pytest.approx([0.7, 0.6])


def test_nobody_gives_nothing() -> None:
    assert coco_results(people(), BOXES[:0], nms=True, **FACTS) == []

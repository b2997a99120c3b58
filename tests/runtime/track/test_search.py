"""Who is found without a detector, by networks that are functions of the boxes."""

from collections.abc import Callable

import numpy as np
import pytest

from lehrnet.pose.skeleton import COCO17
from lehrnet.runtime.track.search import find_person

WIDTH, HEIGHT, MIN_SCORE = 640, 480, 0.5
BODY = np.random.default_rng(0).uniform((300, 100), (380, 340), (17, 2))
SHARES = np.random.default_rng(1).uniform(0.1, 0.9, (17, 2))
Look = Callable[[np.ndarray], np.ndarray]


def person(score: float) -> Look:
    """Joints that stay where they are, surer in boxes that hold them all."""

    def look(boxes: np.ndarray) -> np.ndarray:
        inside = ((boxes[:, None, :2] <= BODY) & (boxes[:, None, 2:] >= BODY)).all(2)
        scores = np.where(inside.all(-1, keepdims=True), score, 0.1) * np.ones(inside.shape)
        return np.concatenate((np.broadcast_to(BODY, (len(boxes), 17, 2)), scores[..., None]), axis=2)

    return look


def wall(boxes: np.ndarray) -> np.ndarray:
    """Joints that go with the box, in which a box settles by itself."""
    shares = (SHARES - SHARES.min(0)) / np.ptp(SHARES, axis=0) / 1.2 + 1 / 12
    points = boxes[:, None, :2] + shares * (boxes[:, None, 2:] - boxes[:, None, :2])
    return np.concatenate((points, np.full((len(boxes), 17, 1), 0.7)), axis=2)


def found(look: Look) -> np.ndarray:
    return find_person(look, WIDTH, HEIGHT, COCO17, MIN_SCORE)


def test_a_person_is_found() -> None:
    (box,) = found(person(0.8))
    assert (box[:2] < BODY.min(0)).all()
    assert (box[2:] > BODY.max(0)).all()


def test_joints_of_which_the_network_is_not_sure_are_nobody() -> None:
    assert len(found(person(MIN_SCORE))) == 1
    assert found(person(MIN_SCORE - 0.01)).shape == (0, 4)


def test_joints_that_go_with_the_box_are_nobody() -> None:
    assert found(wall).shape == (0, 4)


@pytest.mark.parametrize("score", [0.0, -1.0])
def test_heatmaps_of_nothing_are_nobody(score: float) -> None:
    assert found(person(score)).shape == (0, 4)

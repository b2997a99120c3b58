import numpy as np
import pytest

from lehrnet.runtime.estimator import Poses
from lehrnet.serving.answers import Refusal, Request, answer

JOINTS = 3


class Stub:
    """Finds each joint at the box's corner, and counts its runs; a frame of a single px breaks it."""

    def __init__(self) -> None:
        self.runs: list[int] = []

    def run_many(self, items):
        self.runs.append(len(items))
        if any(image.shape[:2] == (1, 1) for image, _ in items):
            raise RuntimeError("out of memory")
        return [
            Poses(
                np.tile(np.asarray(boxes, np.float32)[:, None, :2], (1, JOINTS, 1)),
                np.full((len(boxes), JOINTS), float(image.mean()), np.float32),
                np.asarray(boxes, np.float64),
            )
            for image, boxes in items
        ]


def request(people: int, *, height: int = 10, width: int = 12, frames: int = 1) -> Request:
    boxes = np.tile(np.array([1, 2, 5, 9], np.float32), (frames, people, 1))
    return Request(np.full((frames, height, width, 3), height, np.uint8), boxes)


def test_requests_of_all_sizes_share_one_run_and_get_their_own_people_back() -> None:
    stub = Stub()
    asked = [request(2), request(0, height=20), request(5, width=40), request(1, frames=3)]
    found = answer(stub, asked, JOINTS, 8)
    assert stub.runs == [6]
    assert [each.shape for each in found if not isinstance(each, Refusal)] == [
        (1, 2, 3, 3), (1, 0, 3, 3), (1, 5, 3, 3), (3, 1, 3, 3),
    ]  # fmt: skip
    assert isinstance(found[0], np.ndarray)
    np.testing.assert_array_equal(found[0][0, 1], [[1, 2, 10]] * JOINTS)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (Request(np.zeros((1, 9, 9, 3), np.uint8), np.array([[[5, 5, 5, 9]]], np.float32)), "box 0 is"),
        (Request(np.zeros((1, 9, 9, 3), np.uint8), np.array([[[np.nan, 5, 5, 9]]], np.float32)), "finite"),
        (Request(np.zeros((1, 0, 9, 3), np.uint8), np.zeros((1, 0, 4), np.float32)), "not empty"),
        (Request(np.zeros((0, 9, 9, 3), np.uint8), np.zeros((0, 0, 4), np.float32)), "expected (1, height"),
        (Request(np.zeros((2, 9, 9, 3), np.uint8), np.zeros((1, 0, 4), np.float32)), "expected (1, height"),
        (request(9), "at most 8 on a frame"),
    ],
)
def test_what_is_wrong_is_refused_in_words_and_the_others_are_answered(wrong: Request, words: str) -> None:
    first, refused, last = answer(Stub(), [request(1), wrong, request(2)], JOINTS, 8)
    assert isinstance(refused, Refusal)
    assert words in refused.reason
    assert not refused.ours
    assert (getattr(first, "shape", None), getattr(last, "shape", None)) == ((1, 1, 3, 3), (1, 2, 3, 3))


def test_a_run_that_fails_is_done_again_one_by_one() -> None:
    found = answer(Stub(), [request(1), request(1, height=1, width=1)], JOINTS, 8)
    assert getattr(found[0], "shape", None) == (1, 1, 3, 3)
    assert found[1] == Refusal("the server could not answer: RuntimeError: out of memory", ours=True)

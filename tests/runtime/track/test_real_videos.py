"""The shipped weights on real videos: two people who hug keep their identities, one is followed without any box."""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from lehrnet.runtime import PoseEstimator, Poses
from lehrnet.runtime.detect import PersonDetector
from lehrnet.runtime.track import PoseTracker
from lehrnet.runtime.video import Frame, open_video

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
VIDEOS, NANODET = SHARED / "video", SHARED / "detector" / "nanodet_g_416.onnx"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def estimator():
    if not VIDEOS.is_dir():
        pytest.skip("the videos of ../shared/data/video are not on this machine")
    pytest.importorskip("onnxsim")
    from lehrnet.export.default import default_bundle

    with PoseEstimator.open(default_bundle(), device="cpu") as opened:
        yield opened


def follow(name: str, tracker: PoseTracker, boxes_of: Callable[[Frame], np.ndarray] | None = None) -> list[Poses]:
    found = []
    with open_video(VIDEOS / name) as video:
        for frame in video:
            rows = None if boxes_of is None else boxes_of(frame)
            given = (None, None) if rows is None else (rows[:, :4], rows[:, 4])
            found.append(tracker(frame.image, frame.time_s, *given))
    return found


def check_two_people(found: list[Poses]) -> None:
    """Both from the first frame to the last, and who stood on the right still does."""
    assert [poses.ids.tolist() for poses in found if poses.ids is not None] == [[1, 2]] * 72
    middles = np.array([poses.xy[:, 5:13, 0].mean(1) for poses in found])  # px, of shoulders, arms and hips
    assert (np.sign(middles[:, 0] - middles[:, 1]) == np.sign(middles[0, 0] - middles[0, 1])).all()


def test_two_people_with_their_detections(estimator) -> None:
    rows = json.loads((VIDEOS / "two_people.detections.json").read_text())
    check_two_people(follow("two_people.mp4", PoseTracker(estimator), lambda frame: np.array(rows[frame.index])))


def test_two_people_with_a_real_detector(estimator) -> None:
    check_two_people(follow("two_people.mp4", PoseTracker(estimator, PersonDetector.open(NANODET, device="cpu"))))


def test_one_person_without_any_detector(estimator) -> None:
    rows = json.loads((VIDEOS / "one_person.detections.json").read_text())
    found = follow("one_person.avi", PoseTracker(estimator))
    assert len(found) == 103
    for poses, truth in zip(found, rows, strict=True):
        assert poses.ids is not None
        assert poses.ids.tolist() == [1]
        x1, y1, x2, y2, _ = truth[0]
        inside = (poses.xy[0] >= (x1 - 20, y1 - 20)) & (poses.xy[0] <= (x2 + 20, y2 + 20))
        assert inside.all(1).mean() > 0.9  # joints within the detector's box, 20 px round it


@pytest.mark.parametrize(
    ("name", "columns"), [("one_person.avi", slice(1200, 1920)), ("two_people.mp4", slice(0, 600))]
)
def test_nobody_is_found_beside_the_people(estimator, name: str, columns: slice) -> None:
    with open_video(VIDEOS / name) as video:
        for frame in islice(video, 0, 48, 24):
            assert len(PoseTracker(estimator)(np.ascontiguousarray(frame.image[:, columns]), 0.0)) == 0

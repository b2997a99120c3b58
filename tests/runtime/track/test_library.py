"""The C library's tracker beside Python's on real videos: the same identities and the same joints."""

import json
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from lehrnet.benchmarks.embedded import wheels_library
from lehrnet.runtime import PoseEstimator, Poses
from lehrnet.runtime.backends.library import LibrarySession
from lehrnet.runtime.backends.library_path import ENVIRONMENT
from lehrnet.runtime.track import Item, PoseTracker, SmoothOptions, TrackerOptions
from lehrnet.runtime.video import open_video
from lehrnet.tests.runtime.embed_builds import EMBED, MARKS, dev_library, run
from lehrnet.tests.runtime.track.library_tracker import LibraryTracker, default_options

NATIVE = "native_fp32"
VIDEOS = Path(__file__).resolve().parents[4] / "shared" / "data" / "video"
SMOOTHED = TrackerOptions(smooth=SmoothOptions())
PX = 0.01

pytestmark = MARKS
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def library() -> Path:
    return dev_library()


@pytest.fixture(scope="module")
def bundle() -> Path:
    """The shipped weights."""
    if not VIDEOS.is_dir():
        pytest.skip("the videos of ../shared/data/video are not on this machine")
    pytest.importorskip("onnxsim")
    from lehrnet.export.default import default_bundle

    return default_bundle()


@pytest.fixture(scope="module")
def estimator(library: Path, bundle: Path) -> Iterator[PoseEstimator]:
    """Our own engine from pixels to keypoints, by the library under test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENVIRONMENT, str(library))
        with PoseEstimator.open(bundle, NATIVE, "cpu") as opened:
            yield opened


def detections(name: str) -> list[np.ndarray]:
    """Of each frame, x1, y1, x2, y2 and score of people (n, 5)."""
    rows = json.loads((VIDEOS / name).with_suffix(".detections.json").read_text())
    return [np.array(row, np.float32).reshape(-1, 5) for row in rows]


def identities(poses: Poses) -> list[int]:
    assert poses.ids is not None
    return poses.ids.tolist()


def test_defaults_are_python_s(library: Path, tiny_bundle: Path) -> None:
    found = default_options(LibrarySession(library, tiny_bundle, wheels_library()))
    wanted = {**vars(TrackerOptions()), **vars(SmoothOptions()), "smooth": 0}
    names = [name for name, *_ in found._fields_ if name not in ("struct_size", "streams")]
    assert {name: getattr(found, name) for name in names} == wanted


def test_the_example_follows_a_raw_video(library: Path, bundle: Path, estimator: PoseEstimator, tmp_path: Path) -> None:
    """Two people with their detections, against Python from crop to track."""
    program, boxes = tmp_path / "pose_video", detections("two_people.mp4")
    flags = ("-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{EMBED / 'include'}")
    links = (f"-L{library.parent}", "-llehrnet", f"-Wl,-rpath,{library.parent}")
    run("g++", *flags, EMBED / "examples" / "pose_video.cpp", "-o", program, *links)
    lines = [" ".join(map(str, (frame, *row))) for frame, rows in enumerate(boxes) for row in rows.tolist()]
    (tmp_path / "detections.txt").write_text("\n".join(lines))
    tracker, wanted, rate = PoseTracker(estimator), [], 28.05
    with subprocess.Popen(
        [program, bundle, "1920x1080", str(rate), tmp_path / "detections.txt"],
        stdin=subprocess.PIPE,
        stdout=(tmp_path / "lines.jsonl").open("w"),
    ) as process, open_video(VIDEOS / "two_people.mp4") as video:  # fmt: skip
        assert process.stdin is not None
        for frame in video:
            process.stdin.write(frame.image.tobytes())
            given = boxes[frame.index]
            wanted.append(tracker(frame.image, frame.index / rate, given[:, :4], given[:, 4]))
        process.stdin.close()
    assert process.returncode == 0
    found = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert len(found) == len(wanted) == 72
    apart = []
    for line, poses in zip(found, wanted, strict=True):
        assert [person["id"] for person in line["people"]] == identities(poses) == [1, 2]
        points = np.array([person["keypoints"] for person in line["people"]]).reshape(2, -1, 3)
        apart.append(np.abs(points[..., :2] - poses.xy).max(2))
    assert np.max(apart) < PX


def test_streams_that_drop_frames_are_followed_alike(library: Path, bundle: Path, estimator: PoseEstimator) -> None:
    """One person without any box, whose next box is that of the joints, and two people with, smoothed."""
    session = LibrarySession(library, bundle, precision=NATIVE)
    trackers = (
        LibraryTracker(session, SMOOTHED, streams=2),
        PoseTracker(estimator, options=SMOOTHED, streams=2),
    )
    rng, boxes = np.random.default_rng(0), detections("two_people.mp4")
    with open_video(VIDEOS / "one_person.avi") as one, open_video(VIDEOS / "two_people.mp4") as two:
        for alone, pair in islice(zip(one, two, strict=False), 48):
            given = boxes[pair.index]
            items = [
                Item(alone.image, alone.time_s) if rng.random() < 0.5 else None,
                Item(pair.image, pair.time_s, given[:, :4], given[:, 4]) if rng.random() < 0.5 else None,
            ]
            found, wanted = (tracker.update(items) for tracker in trackers)
            for each, other, item in zip(found, wanted, items, strict=True):
                assert identities(each) == identities(other)
                assert item is None or len(each) > 0
                for name in ("xy", "score", "boxes", "smoothed"):
                    np.testing.assert_allclose(getattr(each, name), getattr(other, name), atol=PX)
    trackers[0].close()
    session.close()


def test_the_library_refuses_in_python_s_words(library: Path, tiny_bundle: Path, image: np.ndarray) -> None:
    session = LibrarySession(library, tiny_bundle, wheels_library())
    with pytest.raises(ValueError, match="match_iou is 1.5, expected at most 1"):
        options = TrackerOptions()
        object.__setattr__(options, "match_iou", 1.5)
        LibraryTracker(session, options)
    tracker, estimator = LibraryTracker(session), PoseEstimator.open(tiny_bundle, device="cpu")
    for each in (tracker, PoseTracker(estimator)):
        each(image, 2.0, [(0, 0, 50, 90)])
        with pytest.raises(ValueError, match=r"a frame at 1.000 s follows one at 2.000 s; time must not run backwards"):
            each(image, 1.0)
        with pytest.raises(ValueError, match=r"a frame's time is nan, expected seconds"):
            each(image, np.nan)
        with pytest.raises(ValueError, match=r"expected finite x1 < x2 and y1 < y2"):
            each(image, 3.0, [(0, np.nan, 50, 90)])
        with pytest.raises(ValueError, match=r"expected px within 1e\+07 of the image's corner"):
            each(image, 3.0, [(0, 0, 5e7, 90)])
        with pytest.raises(ValueError, match=r"the score of box 0 is nan, expected a number"):
            each(image, 3.0, [(0, 0, 50, 90)], [np.nan])
    tracker.close()
    session.close()

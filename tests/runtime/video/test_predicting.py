"""From a video to JSON lines and a drawn video, by the library and by the command."""

import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from lehrnet.cli import main
from lehrnet.runtime import PoseEstimator, Poses
from lehrnet.runtime.track import Item, PoseTracker, TrackerOptions
from lehrnet.runtime.video import from_iterable, open_video
from lehrnet.runtime.video.frame_boxes import FrameBoxes
from lehrnet.runtime.video.predicting import Outputs, predict_video, tracking
from lehrnet.runtime.video.writing import writing_video

LENIENT = TrackerOptions(min_score=1e-9, keep_score=1e-9)
"""The network of these tests is untrained: its scores mean nothing."""


@pytest.fixture
def estimator(tiny_bundle: Path) -> PoseEstimator:
    return PoseEstimator.open(tiny_bundle, device="cpu", threads=1)


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps([[[2 * number, 30, 2 * number + 40, 90, 0.8]] for number in range(30)]))
    return path


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


class TestTracker:
    def test_three_lines_of_python(self, estimator, clip: Path, boxes: Path) -> None:
        known = FrameBoxes(boxes)
        tracker = PoseTracker(estimator, lambda image: known(0), LENIENT)
        with open_video(clip) as video:
            people = [poses for _, poses in tracker.follow(video)]
        assert len(people) == 30

    def test_streams_share_batches_and_nothing_else(self, estimator) -> None:
        image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
        box, other = [[10, 10, 60, 110]], [[70, 10, 150, 110]]
        tracker = PoseTracker(estimator, None, LENIENT, streams=2)
        first, second = tracker.update([Item(image, 0.0, box), Item(image, 7.0, [*box, *other])])
        assert first.ids is not None
        assert second.ids is not None
        alone = PoseTracker(estimator, None, LENIENT)(image, 0.0, box)
        np.testing.assert_allclose(first.xy, alone.xy, atol=1e-3)
        nobody, later = tracker.update([None, Item(image, 7.1, box)])
        assert (len(nobody), len(later) >= 1) == (0, True)
        with pytest.raises(ValueError, match="1 frames for 2 streams"):
            tracker.update([None])
        tracker.reset(1)
        again = tracker.update([None, Item(image, 0.0, box)])[1]
        assert again.ids is not None
        assert again.ids.tolist() == [1]

    def test_the_detector_runs_every_n_frames_and_when_somebody_is_lost(self, estimator) -> None:
        image, calls = np.zeros((120, 160, 3), np.uint8), []

        def detector(given):
            calls.append(len(calls))
            return np.array([[10.0, 10, 60, 110]]), np.ones(1)

        tracker = PoseTracker(estimator, detector, LENIENT, every=5)
        for number in range(11):
            tracker(image, number / 30)
        assert len(calls) == 3  # frames 0, 5 and 10
        empty = PoseTracker(estimator, lambda _: (np.empty((0, 4)), np.empty(0)), LENIENT, every=5)
        assert len(empty(image, 0.0)) == 0

    def test_bad_boxes_and_settings_are_refused(self, estimator) -> None:
        image = np.zeros((20, 20, 3), np.uint8)
        with pytest.raises(ValueError, match="scores have shape"):
            PoseTracker(estimator)(image, 0.0, [[0, 0, 9, 9]], [1.0, 2.0])
        with pytest.raises(ValueError, match="every is 0"):
            PoseTracker(estimator, every=0)


class TestFrameBoxes:
    def test_coco_detections_by_frame(self, tmp_path: Path) -> None:
        (tmp_path / "b.json").write_text(json.dumps([{"image_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5}]))
        known = FrameBoxes(tmp_path / "b.json")
        assert known(2)[0].tolist() == [[1, 2, 4, 6]]
        assert len(known(0)[0]) == 0

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"a": 1}, "expected for a video a list with the boxes of each frame"),
            ([[[1, 2, 3]]], "frame 0: expected rows of x1, y1, x2, y2"),
            ([[[5, 2, 3, 4]]], "frame 0: box 0 is"),
            ([], "has boxes for 0 frames, but the video has frame 0"),
        ],
    )
    def test_nonsense(self, content, message: str, tmp_path: Path) -> None:
        (tmp_path / "b.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=message):
            FrameBoxes(tmp_path / "b.json")(0)


class TestWriting:
    def test_a_video_plays_in_real_time_where_frames_were_dropped(self, tmp_path: Path) -> None:
        with writing_video(tmp_path / "a.avi", 10, (64, 48)) as writer:
            for time_s in (0.0, 0.1, 0.5, 1.0):
                writer.write(np.zeros((48, 64, 3), np.uint8), time_s)
        with open_video(tmp_path / "a.avi") as video:
            assert [*video][-1].time_s == pytest.approx(1.0, abs=0.11)

    def test_frames_of_another_size_are_scaled(self, tmp_path: Path) -> None:
        with writing_video(tmp_path / "a.mp4", 30, (64, 48)) as writer:
            writer.write(np.zeros((48, 64, 3), np.uint8), 0.0)
            writer.write(np.zeros((96, 64, 3), np.uint8), 0.1)
        with open_video(tmp_path / "a.mp4") as video:
            assert {frame.image.shape for frame in video} == {(48, 64, 3)}

    def test_a_fault_leaves_no_video(self, tmp_path: Path) -> None:
        with pytest.raises(KeyError), writing_video(tmp_path / "a.mp4", 30, (64, 48)) as writer:
            writer.write(np.zeros((48, 64, 3), np.uint8), 0.0)
            raise KeyError
        assert list(tmp_path.iterdir()) == []


class TestCommand:
    def test_lines_and_video(self, tiny_bundle, clip: Path, boxes: Path, tmp_path: Path, capsys) -> None:
        lines, out = tmp_path / "lines.jsonl", tmp_path / "out.mp4"
        arguments = ("--track", "--smooth", "--boxes", boxes, "--out", out, "--json", lines, "--device", "cpu")
        assert run("predict", tiny_bundle, clip, *arguments) == 0
        assert "in 30 frames" in capsys.readouterr().out
        rows = [json.loads(line) for line in lines.read_text().splitlines()]
        assert [row["frame"] for row in rows] == list(range(30))
        assert {"time_s", "age_ms", "dropped", "people"} <= set(rows[0])
        for row in rows:
            for person in row["people"]:
                assert (len(person["keypoints"]), len(person["smoothed"]), len(person["visible"])) == (51, 34, 17)
        with open_video(out) as video:
            assert len(list(video)) == 30

    def test_without_track_nobody_has_an_identity(self, tiny_bundle, clip: Path, capsys) -> None:
        assert run("predict", tiny_bundle, clip, "--json", "--max-frames", 3, "--device", "cpu") == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert (len(rows), "id" in rows[0]["people"][0]) == (3, False)

    def test_a_cut_video_is_written_as_far_as_it_goes(self, tiny_bundle, clip: Path, tmp_path: Path, capsys) -> None:
        content = clip.read_bytes()
        clip.write_bytes(content[: len(content) // 2])
        lines = tmp_path / "lines.jsonl"
        out = tmp_path / "out.mp4"
        assert run("predict", tiny_bundle, clip, "--json", lines, "--out", out, "--device", "cpu") == 2
        error = capsys.readouterr().err
        assert "is cut off or damaged: it announces 30 frames" in error
        assert len(lines.read_text().splitlines()) > 5
        assert out.is_file()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--out", "x.txt"), "expected a name that ends in .mp4"),
            (("--max-frames", "0"), "--max-frames is 0, expected at least 1"),
            (("--start", "3", "--end", "1"), "start is 3 s and end 1 s"),
            (("--detector", "none.onnx"), "no detector at none.onnx"),
            (("--track", "--every", "0"), "every is 0"),
        ],
    )
    def test_bad_options(self, arguments, message: str, tiny_bundle, clip: Path, capsys, monkeypatch, tmp_path) -> None:
        monkeypatch.chdir(tmp_path)
        assert run("predict", tiny_bundle, clip, *arguments, "--device", "cpu") == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "x.txt").exists()

    def test_the_video_itself_is_not_written_over(self, tiny_bundle, clip: Path, capsys) -> None:
        before = clip.read_bytes()
        assert run("predict", tiny_bundle, clip, "--out", clip, "--device", "cpu") == 2
        assert "would overwrite one of the inputs" in capsys.readouterr().err
        assert clip.read_bytes() == before

    def test_options_of_videos_with_pictures(self, tiny_bundle, data_folder: Path, capsys) -> None:
        image = data_folder / "images" / "000000000001.jpg"
        assert run("predict", tiny_bundle, image, "--max-frames", 3, "--device", "cpu") == 2
        assert "--max-frames:" in capsys.readouterr().err

    def test_results_of_pictures_go_to_a_file(self, tiny_bundle, data_folder: Path, tmp_path: Path) -> None:
        image = data_folder / "images" / "000000000001.jpg"
        assert run("predict", tiny_bundle, image, "--json", tmp_path / "r.json", "--device", "cpu") == 0
        assert len(json.loads((tmp_path / "r.json").read_text())) == 1

    def test_times_that_run_backwards(self, estimator) -> None:
        image = np.zeros((40, 40, 3), np.uint8)
        source = from_iterable([(image, 1.0), (image, 0.5)])
        tracker = PoseTracker(estimator, lambda _: (np.empty((0, 4)), np.empty(0)))
        with pytest.raises(ValueError, match="time must not run backwards") as error:
            predict_video(source, tracking(tracker), estimator, Outputs())
        assert "the results of 1 frames were written" in str(error.value)


@pytest.mark.slow
def test_a_kill_leaves_whole_lines_and_no_half_video_under_its_name(tiny_bundle, clip: Path, tmp_path: Path) -> None:
    lines, out = tmp_path / "lines.jsonl", tmp_path / "out.mp4"
    images = tmp_path / "many"
    images.mkdir()
    for number in range(400):
        cv2.imwrite(str(images / f"{number:04d}.jpg"), np.full((120, 160, 3), number % 250, np.uint8))
    arguments = ["predict", tiny_bundle, images, "--track", "--json", lines, "--out", out, "--device", "cpu"]
    command = [sys.executable, "-m", "lehrnet", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (lines.exists() and lines.stat().st_size > 5000):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    text = lines.read_text()
    whole = text[: text.rindex("\n") + 1].splitlines()
    assert [json.loads(line)["frame"] for line in whole] == list(range(len(whole)))
    assert not out.exists()
    assert [path.name.endswith(".unfinished") for path in tmp_path.glob(".out.mp4*")] == [True]


@pytest.mark.slow
def test_memory_stays_flat_over_five_thousand_frames(estimator) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (80, 100, 3), dtype=np.uint8) for _ in range(4)]
    tracker = PoseTracker(estimator, lambda _: (np.array([[20.0, 5, 60, 75]]), np.ones(1)), LENIENT)
    lines = io.StringIO()

    def frames():
        for number in range(5000):
            lines.seek(0)
            lines.truncate()
            yield images[number % 4], number / 60
            if number == 500:
                marks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    marks: list[int] = []
    done = predict_video(from_iterable(frames()), tracking(tracker), estimator, Outputs(lines))
    assert done.frames == 5000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - marks[0] < 8 * 1024  # KiB


def test_poses_go_to_supervision() -> None:
    supervision = pytest.importorskip("supervision", reason="supervision is not installed")
    poses = Poses(
        np.ones((2, 17, 2), np.float32),
        np.full((2, 17), 0.5, np.float32),
        np.array([[0.0, 0, 4, 9], [5, 0, 9, 9]]),
        np.array([3, 8]),
    )
    points, detections = poses.to_supervision()
    assert isinstance(points, supervision.KeyPoints)
    assert detections.tracker_id.tolist() == [3, 8]
    assert points.xy.shape == (2, 17, 2)

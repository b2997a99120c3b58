"""Files, folders and iterables: every frame in order, with its time; what is no video is said in one sentence."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from lehrnet.runtime.video import from_iterable, open_video
from lehrnet.runtime.video.opening import is_video


def test_a_file_gives_every_frame_with_its_time(clip: Path) -> None:
    with open_video(clip) as video:
        frames = list(video)
        assert (video.rate, video.count, video.live) == (30, 30, False)
    assert [frame.index for frame in frames] == list(range(30))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(30) / 30, atol=2e-3)
    assert {frame.dropped for frame in frames} == {0}
    assert abs(int(frames[10].image[0, 0, 0]) - 40) < 6
    assert frames[0].age_ms > 0


def test_a_part_of_a_file(clip: Path) -> None:
    with open_video(clip, start_s=0.2, end_s=0.5) as video:
        assert [frame.index for frame in video] == list(range(6, 15))
    with pytest.raises(ValueError, match="has 30 frames, the last before the start at 9 s"):
        list(open_video(clip, start_s=9))
    with pytest.raises(ValueError, match="start is 3 s and end 1 s"):
        open_video(clip, start_s=3, end_s=1)


def test_a_folder_is_a_video_of_its_pictures(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((20 + number, 30, 3), number, np.uint8))
    with open_video(tmp_path) as video:
        frames = list(video)
    assert [frame.image.shape[0] for frame in frames] == [20, 21, 22]  # frames may change their size
    assert [round(frame.time_s * 30) for frame in frames] == [0, 1, 2]


def test_an_iterable_with_and_without_times() -> None:
    image = np.zeros((4, 5, 3), np.uint8)
    assert [frame.time_s for frame in from_iterable([image] * 3, rate=10)] == [0, 0.1, 0.2]
    assert [frame.time_s for frame in from_iterable([(image, 0.5), (image, 2.0)])] == [0.5, 2.0]
    with pytest.raises(ValueError, match="the time of frame 0 is nan, expected seconds"):
        list(from_iterable([(image, float("nan"))]))
    with pytest.raises(ValueError, match="image has shape"):
        list(from_iterable([np.zeros((4, 5), np.uint8)]))


class TestWhatIsNoVideo:
    def test_an_empty_file(self, tmp_path: Path) -> None:
        (tmp_path / "empty.mp4").touch()
        with pytest.raises(ValueError, match=r"empty.mp4 is empty, expected a video"):
            open_video(tmp_path / "empty.mp4")

    def test_noise(self, tmp_path: Path) -> None:
        (tmp_path / "noise.mp4").write_bytes(os.urandom(4000))
        with pytest.raises(ValueError, match="is not a video that OpenCV can read"):
            open_video(tmp_path / "noise.mp4")

    def test_frames_that_no_camera_takes(self, clip: Path, monkeypatch) -> None:
        from lehrnet.runtime.video import opencv

        monkeypatch.setattr(opencv, "MAX_PIXELS", 10_000)
        with pytest.raises(ValueError, match="announces frames of 160 x 120 px, more than 10000 pixels"):
            open_video(clip)

    def test_an_unknown_codec(self, clip: Path) -> None:
        clip.write_bytes(clip.read_bytes().replace(b"MJPG", b"ZZZ9"))
        with pytest.raises(ValueError, match="of a codec that this OpenCV lacks|has no frame that can be decoded"):
            list(open_video(clip))

    def test_a_cut_file_gives_what_is_before_the_cut_and_says_so(self, clip: Path) -> None:
        content = clip.read_bytes()
        clip.write_bytes(content[: len(content) // 2])
        frames = []
        with pytest.raises(ValueError, match=r"is cut off or damaged: it announces 30 frames, and \d+ could be read"):
            iter_into(frames, open_video(clip))
        assert 5 < len(frames) < 25

    def test_a_camera_that_is_not_there(self) -> None:
        with pytest.raises(RuntimeError, match="no camera 61 answers here"):
            open_video(61)

    def test_an_address_that_nobody_answers(self) -> None:
        with pytest.raises(RuntimeError, match="rtsp://127.0.0.1:9/x did not answer within 1 s") as error:
            open_video("rtsp://user:secret@127.0.0.1:9/x", timeout_s=1)
        assert "secret" not in str(error.value)

    def test_a_pipeline_without_gstreamer(self) -> None:
        if "GStreamer:                   YES" in cv2.getBuildInformation():
            pytest.skip("this OpenCV has GStreamer")
        with pytest.raises(RuntimeError, match="is built without GStreamer"):
            open_video("gst: videotestsrc ! appsink")

    def test_nothing_of_that_name(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="no video at"):
            open_video(tmp_path / "none.mp4")
        with pytest.raises(ValueError, match="reader is 'other'"):
            open_video(tmp_path, reader="other")
        with pytest.raises(ValueError, match="is live: a start and an end are for files"):
            open_video("rtsp://x/y", start_s=1)


def iter_into(frames: list, source) -> None:
    for frame in source:
        frames.append(frame)


class TestTimes:
    def clock(self, *said: float) -> list[float]:
        from lehrnet.runtime.video.opencv import _Clock

        clock = _Clock("a.avi", 0.04)
        return [clock(each) for each in said]

    def test_times_begin_at_the_first_frame_and_gaps_are_filled_by_the_rate(self) -> None:
        np.testing.assert_allclose(self.clock(0.08, 0.12, 0.0, 0.0, 0.24), [0, 0.04, 0.08, 0.12, 0.16])
        np.testing.assert_allclose(self.clock(0, 0, 0), [0, 0.04, 0.08])

    def test_a_step_back_of_one_frame_is_the_reader_s_and_more_is_the_file_s(self) -> None:
        assert self.clock(0.04, 0.12, 0.08) == pytest.approx([0, 0.08, 0.08])
        with pytest.raises(ValueError, match="its times run backwards"):
            self.clock(0.04, 1.0, 0.5)


def test_names_of_videos_are_told_from_names_of_pictures() -> None:
    assert all(map(is_video, ("a.MP4", "0", "/dev/video2", "rtsp://x/y", "gst: a ! b", "-")))
    assert not any(map(is_video, ("a.jpg", "photos/", "a", "x.json")))


def test_a_pipe_is_a_video_unless_it_is_called_a_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert is_video(str(tmp_path / "pipe"))
    assert not is_video(str(tmp_path / "pipe.jpg"))


def test_a_pipe_that_nobody_writes_is_given_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RuntimeError, match=r"nobody wrote to the pipe .* within 0\.2 s; start what writes it"):
        open_video(tmp_path / "pipe", timeout_s=0.2)


class TestPyAv:
    def test_it_reads_what_opencv_reads(self, clip: Path) -> None:
        pytest.importorskip("av", reason="PyAV is not installed: pip install 'lehrnet[video]'")
        with open_video(clip) as first, open_video(clip, reader="pyav") as second:
            pairs = list(zip(first, second, strict=True))
        for ours, theirs in pairs:
            assert ours.time_s == pytest.approx(theirs.time_s, abs=2e-3)
            np.testing.assert_allclose(ours.image.astype(int), theirs.image.astype(int), atol=8)

    def test_a_cut_file(self, clip: Path) -> None:
        pytest.importorskip("av", reason="PyAV is not installed: pip install 'lehrnet[video]'")
        content = clip.read_bytes()
        clip.write_bytes(content[: len(content) // 2])
        frames: list = []
        with pytest.raises(ValueError, match="is cut off or damaged"):
            iter_into(frames, open_video(clip, reader="pyav"))
        assert len(frames) > 5

"""Live sources: the newest frame, what was dropped, loss of signal; several sources in one batch."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from lehrnet.runtime.video import Together, from_iterable, open_video
from lehrnet.runtime.video import latest as live_sources
from lehrnet.runtime.video.latest import LiveSource

IMAGE = np.zeros((8, 8, 3), np.uint8)


def ticking(count: int, every_s: float) -> Iterator[np.ndarray]:
    start = time.monotonic()
    for number in range(count):
        time.sleep(max(0, start + number * every_s - time.monotonic()))
        yield np.full((8, 8, 3), number % 256, np.uint8)


def test_a_slow_reader_gets_the_newest_frame_and_the_number_of_the_others() -> None:
    """60 frames a second, read 10 times a second."""
    ages, numbers, dropped = [], [], 0
    for frame in from_iterable(ticking(90, 1 / 60), live=True):
        assert frame.image[0, 0, 0] == frame.index
        time.sleep(0.1)
        ages.append(frame.age_ms)
        numbers.append(frame.index)
        dropped += frame.dropped
    assert max(ages) < 200, ages
    assert len(numbers) < 30
    assert len(numbers) + dropped == numbers[-1] + 1
    assert numbers[-1] == 89  # the last is never lost


class Capture:
    """A camera that fails after some frames, and again when it is opened while it is away."""

    def __init__(self, frames: int) -> None:
        self.left, self.released = frames, 0

    def grab(self) -> bool:
        self.left -= 1
        time.sleep(0.005)
        return self.left >= 0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, IMAGE

    def release(self) -> None:
        self.released += 1


def test_a_lost_signal_is_found_again_and_time_goes_on(monkeypatch, caplog) -> None:
    monkeypatch.setattr(live_sources, "FIRST_PAUSE_S", 0.02)
    opened: list[int] = []

    def reopen() -> Capture:
        opened.append(1)
        if len(opened) in (2, 3):
            raise RuntimeError("away")
        return Capture(5)

    with LiveSource("camera", reopen) as source:
        frames = [frame for frame, _ in zip(source, range(8), strict=False)]
        assert source.reconnections >= 1
    times = [frame.time_s for frame in frames]
    assert times == sorted(times)
    assert len(opened) >= 4
    assert "camera is lost" in caplog.text


def test_a_source_that_stays_away_ends_with_a_reason(monkeypatch) -> None:
    monkeypatch.setattr(live_sources, "FIRST_PAUSE_S", 0.02)
    captures = iter([Capture(3)])

    def reopen() -> Capture:
        found = next(captures, None)
        if found is None:
            raise RuntimeError("away")
        return found

    source = LiveSource("camera", reopen, give_up_s=0.1)
    with pytest.raises(RuntimeError, match=r"camera was lost and stayed away for 0.1 s"):
        list(source)


def test_closing_ends_the_thread_and_the_reader() -> None:
    source = LiveSource("camera", lambda: Capture(10_000))
    assert source.take(1.0) is not None
    source.close()
    assert len(list(source)) <= 1
    assert not any(thread.name == "grab camera" for thread in threading.enumerate())


def test_a_failing_iterable_says_why() -> None:
    def broken() -> Iterator[np.ndarray]:
        yield IMAGE
        raise ValueError("the cable")

    with pytest.raises(ValueError, match="the cable"):
        list(from_iterable(broken(), live=True))


class TestTogether:
    def test_nobody_waits_for_the_slowest(self) -> None:
        fast, slow = from_iterable(ticking(40, 0.02), live=True), from_iterable(ticking(3, 0.4), live=True)
        with Together([fast, slow], deadline_s=0.03) as sources:
            batches = list(sources)
        assert sum(batch[0] is not None for batch in batches) > 20
        assert sum(batch[1] is not None for batch in batches) == 3
        assert all(any(batch) for batch in batches)

    def test_files_lose_nothing(self) -> None:
        sources = [from_iterable([np.full((4, 4, 3), n, np.uint8) for n in range(count)]) for count in (7, 3)]
        with Together(sources) as together:
            batches = list(together)
        for place, count in enumerate((7, 3)):
            assert [frame.index for batch in batches if (frame := batch[place])] == list(range(count))

    def test_a_source_that_fails_ends_alone(self) -> None:
        def broken() -> Iterator[np.ndarray]:
            yield IMAGE
            raise ValueError("the cable")

        sources = [from_iterable(broken(), name="bad"), from_iterable([IMAGE] * 5, name="good")]
        with Together(sources) as together:
            assert sum(batch[1] is not None for batch in together) == 5
        assert str(together.faults["bad"]) == "the cable"

    def test_nonsense_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no sources were given"):
            Together([])
        with pytest.raises(ValueError, match="deadline_s is 0"):
            Together([from_iterable([IMAGE])], deadline_s=0)


def test_a_pipe_is_live_and_ends_with_its_writer(clip, tmp_path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(clip.read_bytes()))
    writer.start()
    with open_video(pipe) as video:
        assert video.live
        frames = list(video)
    writer.join(10)
    assert len(frames) + sum(frame.dropped for frame in frames) == 30
    assert frames[-1].index == 29


@pytest.mark.slow
def test_what_ffmpeg_sends_at_60_a_second_is_never_old(tmp_path) -> None:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("FFmpeg is not installed: apt-get install ffmpeg")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    picture = ["-f", "lavfi", "-i", "testsrc=size=160x120:rate=60:duration=4"]
    command = [ffmpeg, "-v", "quiet", "-y", "-re", *picture, "-c:v", "mjpeg", "-f", "mpjpeg", str(pipe)]
    process = subprocess.Popen(command)
    ages, dropped = [], 0
    with open_video(pipe) as video:
        for frame in video:
            time.sleep(0.1)
            ages.append(frame.age_ms)
            dropped += frame.dropped
    process.wait(10)
    assert max(ages) < 200
    assert dropped > len(ages)

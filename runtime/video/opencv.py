"""OpenCV's VideoCapture: files, cameras, addresses and GStreamer pipelines."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from ...pose.crop import Image
from ...pose.pictures import MAX_PIXELS
from .frames import Closing, Frame

TIMEOUT_S = 10.0
"""An address that does not answer, or stops sending, for this long is given up."""
FFMPEG_QUIET = "-8"  # av_log's AV_LOG_QUIET
GUESSED_RATE = 30.0  # frames a second, where a file says nothing
SHORT_BY = 0.02
"""A file may lack this share of the frames that it announces: some containers only guess their number."""
BACK_BY = 1.5  # frames: readers that give no presentation times go back and forth by one


class VideoFile(Closing):
    """A video file. Nothing is dropped; the end of the file is told from a cut.

    Times are those of the file, since its first frame. Where OpenCV has none for a frame (AVI, raw streams), the rate
    gives them.
    """

    live = False

    def __init__(self, path: Path, start_s: float = 0.0, end_s: float = np.inf) -> None:
        self.name, self._path, self._start_s, self._end_s = str(path), path, start_s, end_s
        with quiet():
            self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            self._capture.release()
            raise ValueError(_why_not(path))
        check_size(self.name, self._capture)
        rate, count = self._capture.get(cv2.CAP_PROP_FPS), self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.rate = rate if np.isfinite(rate) and 0 < rate <= 1000 else None
        self.count = int(count) if np.isfinite(count) and 0 < count < 1e9 else None

    def __iter__(self) -> Iterator[Frame]:
        clock, index, given = _Clock(self.name, 1 / (self.rate or GUESSED_RATE)), -1, 0
        for index, (image, said) in enumerate(self._read()):
            seconds = clock(said)
            if seconds >= self._end_s:
                return
            if seconds >= self._start_s:
                given += 1
                yield Frame(image, index, seconds, time.monotonic())
        self._check_end(index + 1)
        if not given:
            raise ValueError(f"{self.name} has {index + 1} frames, the last before the start at {self._start_s:g} s")

    def _read(self) -> Iterator[tuple[Image, float]]:
        """Images with the time in seconds that OpenCV has for them."""
        while True:
            with quiet():
                done, image = self._capture.read()
            if not done:
                return
            yield np.asarray(image, np.uint8), self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3

    def _check_end(self, found: int) -> None:
        """Raise ValueError if the file has no frame, or clearly fewer than it announces."""
        if not found:
            raise ValueError(f"{self.name}: {_codec(self._capture)} has no frame that can be decoded")
        if self.count and found < self.count - max(2, SHORT_BY * self.count):
            raise ValueError(
                f"{self.name} is cut off or damaged: it announces {self.count} frames, and {found} could be read; "
                "those were used"
            )

    def close(self) -> None:
        """Close the file."""
        self._capture.release()


class _Clock:
    """Seconds of each frame since the first, from what the reader says; 0 is what it says where it knows none."""

    def __init__(self, name: str, step: float) -> None:
        self._name, self._step = name, step
        self._first: float | None = None
        self._before, self._index = 0.0, -1

    def __call__(self, said: float) -> float:
        """Seconds of the next frame; ValueError if the file's times run backwards."""
        self._index += 1
        known = bool(np.isfinite(said)) and said > 0
        if self._first is None:
            self._first = said if known else 0.0
            return 0.0
        seconds = said - self._first if known else self._before + self._step
        if seconds < self._before - BACK_BY * self._step:
            raise ValueError(
                f"{self._name}: frame {self._index} is at {seconds:.3f} s, after one at {self._before:.3f} s: its "
                "times run backwards; ffmpeg -fflags +genpts -i FILE NEW.mp4 writes it with times in order"
            )
        self._before = max(seconds, self._before)
        return self._before


def check_size(name: str, capture: cv2.VideoCapture) -> None:
    """Raise ValueError if frames are announced that no camera takes, before memory is taken for one."""
    width, height = (int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > MAX_PIXELS:
        capture.release()
        raise ValueError(f"{name} announces frames of {width} x {height} px, more than {MAX_PIXELS} pixels")


def _why_not(path: Path) -> str:
    """What is wrong with a file that cannot be opened."""
    if path.stat().st_size == 0:
        return f"{path} is empty, expected a video"
    return (
        f"{path} is not a video that OpenCV can read: it is damaged, cut off before its index, or of a codec that this "
        "OpenCV lacks; ffmpeg -i FILE NEW.mp4 writes one that it can read"
    )


def _codec(capture: cv2.VideoCapture) -> str:
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    letters = code.to_bytes(4, "little").decode("ascii", "replace")
    return f"its codec {letters!r}" if letters.isprintable() and letters.strip() else "its codec"


def open_capture(source: str | int, timeout_s: float = TIMEOUT_S) -> cv2.VideoCapture:
    """Open a camera by number, an address, or a GStreamer pipeline that begins with gst: .

    RuntimeError if it is not there, does not answer within `timeout_s`, or OpenCV lacks GStreamer.
    """
    if isinstance(source, int):
        return _opened(cv2.VideoCapture, source, [], f"no camera {source} answers here; `ls /dev/video*` lists them")
    if source.startswith(GSTREAMER):
        return _open_pipeline(source.removeprefix(GSTREAMER).strip())
    limit = round(1e3 * timeout_s)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
    fault = f"{without_password(source)} did not answer within {timeout_s:g} s, or sends no video that OpenCV can read"
    return _opened(cv2.VideoCapture, source, [cv2.CAP_FFMPEG, limits], fault)


GSTREAMER = "gst:"


def _open_pipeline(pipeline: str) -> cv2.VideoCapture:
    if "GStreamer:                   YES" not in cv2.getBuildInformation():
        raise RuntimeError(
            f"this OpenCV ({cv2.__version__}) is built without GStreamer, which the pipeline needs: pip's wheels are; "
            "JetPack's and Debian's python3-opencv have it"
        )
    fault = f"GStreamer cannot run the pipeline {pipeline!r}; gst-launch-1.0 says why. It ends in appsink"
    return _opened(cv2.VideoCapture, pipeline, [cv2.CAP_GSTREAMER], fault)


def _opened(kind: type[cv2.VideoCapture], source: str | int, more: list, fault: str) -> cv2.VideoCapture:
    with quiet():
        capture = kind(source, *more)
    if not capture.isOpened():
        capture.release()
        raise RuntimeError(fault)
    return capture


def without_password(address: str) -> str:
    """An address as it may be shown: user and password are left out."""
    start, middle, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{start}{middle}{host.rpartition('@')[2]}{slash}{path}" if middle else address


@contextmanager
def quiet() -> Iterator[None]:
    """Keep OpenCV and its FFmpeg from writing to standard error: what they say is said in one sentence of ours."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", FFMPEG_QUIET)
    logging = cv2.utils.logging
    before = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(before)

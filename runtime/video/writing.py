"""Writing videos: H.264 where there is an encoder, else what this machine has; whole or under no final name."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from ...files import atomic_file
from ...pose.crop import Image
from .opencv import quiet

log = logging.getLogger(__name__)

CODECS = {
    ".mp4": ("avc1", "mp4v", "vp09"),
    ".mov": ("avc1", "mp4v"),
    ".mkv": ("avc1", "mp4v", "MJPG"),
    ".avi": ("H264", "mp4v", "MJPG"),
    ".webm": ("vp09",),
}
"""FourCC codes to try by suffix, H.264 first."""
ANY_TIMES = (".mp4", ".mov", ".mkv")
"""Containers that hold H.264 whose frames come at any time."""
H264 = ("avc1", "H264")
LONGEST_GAP_S = 10.0
"""A gap in time longer than this is not filled with copies of the last frame."""
TICKS = 90_000  # a second: MPEG's clock


class VideoWriter(Protocol):
    """An open video file."""

    codec: str
    """Of the file, for people."""

    def write(self, image: Image, time_s: float) -> None:
        """Add a BGR image at its time; times do not run backwards. Images of another size are scaled to the first."""
        ...

    def close(self) -> None:
        """Write the end of the file."""
        ...


@contextmanager
def writing_video(path: Path, rate: float, size: tuple[int, int]) -> Iterator[VideoWriter]:
    """Yield a writer of (width, height) px; the file gets its final name when the block ends without an error.

    Until then it stands in a folder beside it whose name ends in .unfinished; a kill leaves only that.
    """
    check_suffix(path)
    with atomic_file(path) as unfinished:
        writer = _open(unfinished, rate, size)
        log.warning("%s is written as %s", path, writer.codec)
        try:
            yield writer
        finally:
            writer.close()


def check_suffix(path: Path) -> None:
    """Raise ValueError unless videos of this name can be written."""
    if path.suffix.lower() not in CODECS:
        raise ValueError(f"--out {path}: expected a name that ends in {', '.join(CODECS)}")


def _open(path: Path, rate: float, size: tuple[int, int]) -> VideoWriter:
    if path.suffix.lower() in ANY_TIMES:
        try:
            return _PyAvWriter(path, rate, size)
        except ImportError:
            pass
    for codec in CODECS[path.suffix.lower()]:
        writer = _try(path, codec, rate, size)
        if writer is not None:
            return writer
    raise RuntimeError(f"this OpenCV has no encoder for {path.suffix}; pip install 'lehrnet[video]' brings H.264")


def _try(path: Path, codec: str, rate: float, size: tuple[int, int]) -> "_OpenCvWriter | None":
    with quiet():
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), rate, size)
    if not writer.isOpened():
        writer.release()
        return None
    return _OpenCvWriter(writer, codec, rate, size)


class _OpenCvWriter:
    """A constant rate: where frames were dropped the last one is repeated, so that the video plays in real time."""

    def __init__(self, writer: cv2.VideoWriter, codec: str, rate: float, size: tuple[int, int]) -> None:
        self._writer, self._rate, self._size = writer, rate, size
        lacking = "" if codec in H264 else " (no H.264 encoder here: pip install 'lehrnet[video]' brings one)"
        self.codec = f"{codec} by OpenCV{lacking}"
        self._start_s: float | None = None
        self._written = 0
        self._last: Image | None = None

    def write(self, image: Image, time_s: float) -> None:
        """Add an image, after copies of the last one up to its time."""
        self._start_s = time_s if self._start_s is None else self._start_s
        due = round((time_s - self._start_s) * self._rate)
        missing = due - self._written
        if self._last is not None and 0 < missing <= LONGEST_GAP_S * self._rate:
            for _ in range(missing):
                self._writer.write(self._last)
            self._written += missing
        elif missing > 0:  # a long gap is left out of the video
            self._start_s += missing / self._rate
        self._last = _of_size(image, self._size)
        self._writer.write(self._last)
        self._written += 1

    def close(self) -> None:
        """Write the end of the file."""
        self._writer.release()


class _PyAvWriter:
    """H.264 with the times of the frames as they are."""

    def __init__(self, path: Path, rate: float, size: tuple[int, int]) -> None:
        import av  # pyright: ignore[reportMissingImports]

        self._size = (size[0] // 2 * 2, size[1] // 2 * 2)  # H.264's colours are halved
        self._container: Any = av.open(str(path), "w")
        try:
            self._stream = self._container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
        except Exception as error:  # whatever PyAV raises where its FFmpeg lacks the encoder
            self._container.close()
            raise ImportError("this PyAV has no libx264") from error
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt, self._stream.options = "yuv420p", {"crf": "23", "preset": "veryfast"}
        self._stream.codec_context.time_base = Fraction(1, TICKS)
        self.codec = "H.264 by PyAV"
        self._start_s: float | None = None
        self._last = -1

    def write(self, image: Image, time_s: float) -> None:
        """Add an image at its time."""
        import av  # pyright: ignore[reportMissingImports]

        self._start_s = time_s if self._start_s is None else self._start_s
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(_of_size(image, self._size)), format="bgr24")
        self._last = max(round((time_s - self._start_s) * TICKS), self._last + 1)
        frame.pts, frame.time_base = self._last, Fraction(1, TICKS)
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write the end of the file."""
        self._container.mux(self._stream.encode())
        self._container.close()


def _of_size(image: Image, size: tuple[int, int]) -> Image:
    """The image scaled to (width, height), if it is not of that size."""
    if image.shape[1::-1] == size:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)

"""PyAV's readers: exact presentation times of files, and addresses with FFmpeg's options."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...pose.crop import Image
from .frames import Closing, Frame
from .opencv import without_password

try:
    import av  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise ImportError("PyAV is not installed: pip install 'lehrnet[video]', or use reader opencv") from error

QUARTER_TURN = 90  # degrees: telephones record sideways and write the turn beside the picture


class PyAvFile(Closing):
    """A video file with the presentation times that stand in it, since its first frame. Nothing is dropped."""

    live = False

    def __init__(self, path: str, start_s: float = 0.0, end_s: float = np.inf) -> None:
        self.name, self._start_s, self._end_s = path, start_s, end_s
        if Path(path).stat().st_size == 0:
            raise ValueError(f"{path} is empty, expected a video")
        try:
            self._container = av.open(path)
        except av.FFmpegError as error:
            raise ValueError(f"{path} is not a video that FFmpeg can read: {error.strerror}") from error
        self._stream = _video_of(self._container, path)
        self.rate = float(self._stream.average_rate) if self._stream.average_rate else None
        self.count = self._stream.frames or None

    def __iter__(self) -> Iterator[Frame]:
        first, before, index = None, -np.inf, -1
        for index, frame in enumerate(self._decoded()):
            if frame.time is None:
                raise ValueError(f"{self.name}: frame {index} has no time; the reader opencv counts frames")
            first = frame.time if first is None else first
            seconds = frame.time - first
            if seconds < before:
                raise ValueError(
                    f"{self.name}: frame {index} is at {seconds:.3f} s, after one at {before:.3f} s: its times run "
                    "backwards; ffmpeg -fflags +genpts -i FILE NEW.mp4 writes it with times in order"
                )
            before = seconds
            if seconds >= self._end_s:
                return
            if seconds >= self._start_s:
                yield Frame(_image_of(frame), index, seconds, time.monotonic())
        if self.count and index + 1 < self.count:
            raise ValueError(
                f"{self.name} is cut off or damaged: it announces {self.count} frames, and {index + 1} could be read; "
                "those were used"
            )

    def _decoded(self) -> Iterator[Any]:
        try:
            yield from self._container.decode(self._stream)
        except av.FFmpegError as error:
            raise ValueError(
                f"{self.name} is cut off or damaged: {error.strerror}; the frames before were used"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._container.close()


class PyAvCapture:
    """An address as a live capture; RuntimeError if it does not answer within `timeout_s`."""

    def __init__(self, address: str, timeout_s: float) -> None:
        options = {"rtsp_transport": "tcp", "fflags": "nobuffer", "flags": "low_delay"}
        self._frame: Any = None
        try:
            self._container = av.open(address, timeout=timeout_s, options=options)
            self._frames = self._container.decode(_video_of(self._container, address))
        except av.FFmpegError as error:
            shown = without_password(address)
            raise RuntimeError(f"{shown} did not answer within {timeout_s:g} s: {error.strerror}") from error

    def grab(self) -> bool:
        """Take the next frame; False when the signal is lost."""
        try:
            self._frame = next(self._frames, None)
        except av.FFmpegError:
            self._frame = None
        return self._frame is not None

    def retrieve(self) -> tuple[bool, Any]:
        """The frame that was taken, as BGR."""
        return True, _image_of(self._frame)

    def release(self) -> None:
        """Close the connection."""
        self._container.close()


def _video_of(container: Any, name: str) -> Any:
    if not container.streams.video:
        container.close()
        raise ValueError(f"{without_password(name)} has no video in it, expected one")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    return stream


def _image_of(frame: Any) -> Image:
    """BGR (H, W, 3), turned as the file says."""
    turns = round(getattr(frame, "rotation", 0) / QUARTER_TURN) % 4
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="bgr24"), turns))

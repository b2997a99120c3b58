"""From what a user names (a file, a folder, a camera's number, an address, a pipeline) to an open source."""

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..predict import IMAGE_SUFFIXES, list_images
from .frames import FrameSource
from .iterables import from_folder
from .latest import LiveSource
from .opencv import GSTREAMER, TIMEOUT_S, VideoFile, open_capture, without_password
from .pipes import Opens, WrittenPipe

VIDEO_SUFFIXES = (
    *(".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv"),
    *(".3gp", ".ogv", ".mjpeg", ".h264", ".hevc", ".y4m"),
)
READERS = ("opencv", "pyav")
STANDARD_INPUT = "-"


def open_video(
    source: str | Path | int,
    *,
    start_s: float = 0.0,
    end_s: float = np.inf,
    timeout_s: float = TIMEOUT_S,
    reader: str = "opencv",
) -> FrameSource:
    """Open a source of frames.

    Args:
        source: a video file; a folder of pictures; a camera's number, as 0 or "0" or "/dev/video0"; an address, as
            rtsp://... or http://...; a GStreamer pipeline, as "gst: videotestsrc ! ... ! appsink"; a pipe by its path,
            or "-" for standard input.
        start_s: seconds of a file that are left out.
        end_s: seconds of a file after which nothing is read.
        timeout_s: an address that does not answer for this long is given up.
        reader: "opencv", or "pyav" (pip install 'lehrnet[video]') for exact presentation times of files and addresses.

    Raises:
        ValueError: a file that is no video, is empty or holds no frame.
        FileNotFoundError: no file, folder or device of that name.
        RuntimeError: a camera or an address that does not answer, or a pipe that nobody writes.
        ImportError: PyAV is wanted and not installed.
    """
    if reader not in READERS:
        raise ValueError(f"reader is {reader!r}, expected one of {', '.join(READERS)}")
    if not 0 <= start_s < end_s:
        raise ValueError(f"start is {start_s:g} s and end {end_s:g} s, expected 0 <= start < end")
    text = str(source)
    live = _live(text)
    if live is not None:
        if start_s or end_s != np.inf:
            raise ValueError(f"{without_password(text)} is live: a start and an end are for files")
        return _open_live(live, text, timeout_s, reader)
    path = Path(text)
    if path.is_dir():
        return from_folder(path, list_images(path), start_s, end_s)
    if not path.exists():
        raise FileNotFoundError(f"no video at {path}, and it is no camera's number and no address with ://")
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file, expected a video")
    if reader == "pyav":
        from .pyav import PyAvFile

        return PyAvFile(text, start_s, end_s)
    return VideoFile(path, start_s, end_s)


def is_video(source: str) -> bool:
    """Whether a source is for `open_video` rather than a picture or a folder of pictures, by its name alone."""
    suffix = Path(source).suffix.lower()
    return (_live(source) is not None and suffix not in IMAGE_SUFFIXES) or suffix in VIDEO_SUFFIXES


def _live(text: str) -> str | int | None:
    """The number of a camera, an address, a pipeline or a pipe; None for a file or a folder."""
    number = text.removeprefix("/dev/video")
    if number.isdecimal() and (number != text or not Path(text).exists()):
        return int(number)
    if text == STANDARD_INPUT:
        return "pipe:0"
    return text if text.startswith(GSTREAMER) or "://" in text or Path(text).is_fifo() else None


def _open_live(source: str | int, text: str, timeout_s: float, reader: str) -> FrameSource:
    if text.startswith("file://"):
        raise ValueError(f"{text}: give a file by its path, without file://")
    name = f"camera {source}" if isinstance(source, int) else without_password(text)
    by_pyav = reader == "pyav" and isinstance(source, str) and not source.startswith(GSTREAMER)
    if by_pyav:
        from .pyav import PyAvCapture

        opens: Opens = partial(PyAvCapture, timeout_s=timeout_s)
    else:
        opens = partial(open_capture, timeout_s=timeout_s)
    fifo = Path(text).is_fifo()
    opened = partial(WrittenPipe, text, opens, timeout_s) if fifo else partial(opens, source)
    ends = fifo or text == STANDARD_INPUT
    if by_pyav:
        return LiveSource(name, opened, ends=ends)
    first: Any = opened()
    rate = first.get(cv2.CAP_PROP_FPS)
    return LiveSource(
        name,
        opened,
        rate if np.isfinite(rate) and 0 < rate <= 1000 else None,
        capture=first,
        ends=ends,
    )

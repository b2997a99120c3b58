"""Reading of image files: size, completeness check and decoding."""

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from .crop import Image
from .headers import KINDS, header_of, read_header

MAX_PIXELS = 200_000_000  # the largest phone sensors; 600 MB decoded
LARGEST_FILE = 2 << 30  # bytes
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
# libjpeg's warnings for missing data; its warnings about surplus bytes are ignored.
CUT_OFF = (b"premature end of data segment", b"Premature end of JPEG file")
_one_at_a_time = threading.Lock()


def read_image(path: Path, *, max_pixels: int = MAX_PIXELS, turn: bool = True) -> Image:
    """Decode an image file to BGR (H, W, 3) of uint8.

    Args:
        path: a JPEG, PNG, WebP, BMP, GIF or TIFF file.
        max_pixels: an image with more pixels by its header is refused before it is decoded.
        turn: apply the EXIF orientation, as viewers do; False if labels refer to the stored pixels.

    Raises:
        ValueError: not an image, too large, or truncated. Bytes after its end are ignored, as in phones' motion
            photos.
        OSError: the file cannot be read.
    """
    return decode_image(_content(path), path, max_pixels=max_pixels, turn=turn)


def decode_image(
    content: bytes,
    path: Path | str,
    *,
    max_pixels: int = MAX_PIXELS,
    turn: bool = True,
    size: tuple[int, int] | None = None,
) -> Image:
    """Decode the content of an image file, called `path`, to BGR (H, W, 3) of uint8.

    Raises as `read_image`; with a labelled `size` (width, height), which decides on `turn`, as `read_image_of`.
    """
    header = header_of(content)
    if header is not None and size is not None:
        turn = _is_shown(header.width, header.height, header.turned, size, path)
    if header is None:
        if content.startswith(JPEG_START):
            raise ValueError(f"{path} is cut off: a JPEG without pixels; fetch it again")
        raise ValueError(f"{path} is not an image that lehrnet reads, expected {KINDS}")
    if header.width * header.height > max_pixels:
        raise ValueError(
            f"{path} has {header.width} x {header.height} pixels, more than the {max_pixels:,} allowed; "
            "--max-pixels allows more"
        )
    if header.kind == "JPEG" and JPEG_END not in content:
        raise ValueError(f"{path} is cut off: a JPEG without an end; fetch it again")  # OpenCV 4 would fill it up
    with _captured_stderr(header.kind == "JPEG") as said:
        image = _decode(content, turn=turn)
        said.seek(0)
        cut_off = any(words in line for line in said for words in CUT_OFF)
    if cut_off:
        raise ValueError(f"{path} is cut off: a JPEG of which bytes are missing; fetch it again")
    if image is None:
        raise ValueError(f"{path} does not decode as a {header.kind} picture; fetch it again")
    return image


def read_image_of(path: Path, size: tuple[int, int], *, max_pixels: int = MAX_PIXELS) -> Image:
    """Read an image in the orientation, stored or by EXIF, that has the labelled `size` (width, height).

    Raises as `read_image`, and ValueError if neither orientation has that size.
    """
    turn = _is_shown(*picture_size(path), size, path)
    return read_image(path, max_pixels=max_pixels, turn=turn)


def _is_shown(width: int, height: int, turned: bool, size: tuple[int, int], path: Path | str) -> bool:
    """Whether labels of a `size` mean the picture as EXIF turns it; ValueError if they mean neither way."""
    as_shown = turned and (height, width) == size
    if (width, height) != size and not as_shown:
        labelled = f"{size[0]} x {size[1]}"
        raise ValueError(f"{path} is {width} x {height}, the labels say {labelled}: they belong to another image")
    return as_shown


def picture_size(path: Path) -> tuple[int, int, bool]:
    """Width and height of the stored pixels, and whether EXIF swaps them; raises as `read_image`."""
    _check_regular(path)
    header = read_header(path)
    return header.width, header.height, header.turned


def _content(path: Path) -> bytes:
    _check_regular(path)
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise ValueError(f"{path} has {size} bytes, more than lehrnet reads as an image")
    return path.read_bytes()


def _check_regular(path: Path) -> None:
    if not path.is_file():
        if path.exists():
            raise ValueError(f"{path} is not a regular file, expected an image file")
        raise FileNotFoundError(f"no image at {path}")


def _decode(content: bytes, *, turn: bool) -> Image | None:
    flags = cv2.IMREAD_COLOR if turn else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)


@contextmanager
def _captured_stderr(listen: bool) -> Iterator[BinaryIO]:
    """Capture standard error in a file while an image is decoded; what libjpeg did not write is passed on.

    OpenCV returns a truncated image as if it were complete, with the rest grey. Only libjpeg's warning on standard
    error tells.
    """
    with tempfile.TemporaryFile() as said:
        if not listen:
            yield said
            return
        with _one_at_a_time:
            if sys.stderr is not None:
                sys.stderr.flush()
            try:
                kept = os.dup(2)
            except OSError:  # a service without a standard error
                yield said
                return
            os.dup2(said.fileno(), 2)
            try:
                yield said
            finally:
                os.dup2(kept, 2)
                os.close(kept)
                said.seek(0)
                for line in said:
                    if b"JPEG" not in line:
                        os.write(2, line)

"""Frames from memory: any iterable of images, and a folder of pictures."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...pose.crop import Image, check_image
from ...pose.pictures import read_image
from .frames import Closing, Frame
from .latest import LiveSource

PICTURES_A_SECOND = 30.0
"""Of a folder, which says nothing of time."""


class IterableSource(Closing):
    """Images, or (image, seconds) pairs, that a caller has. Nothing is dropped."""

    live = False

    def __init__(
        self,
        images: Iterable[Any],
        rate: float | None = None,
        name: str = "frames",
        count: int | None = None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.name, self.rate, self.count = name, rate, count
        self._images, self._close = images, close

    def __iter__(self) -> Iterator[Frame]:
        for index, given in enumerate(self._images):
            captured = time.monotonic()
            image, seconds = given if isinstance(given, tuple) else (given, index / (self.rate or PICTURES_A_SECOND))
            check_image(image)
            if not isinstance(seconds, int | float | np.number) or not np.isfinite(seconds):
                raise ValueError(f"{self.name}: the time of frame {index} is {seconds!r}, expected seconds")
            yield Frame(image, index, float(seconds), captured)

    def close(self) -> None:
        """Close the iterable, if it can be."""
        self._close()


def from_iterable(
    images: Iterable[Any], rate: float | None = None, name: str = "frames", *, live: bool = False
) -> IterableSource | LiveSource:
    """A source of images (H, W, 3) of uint8 in BGR, `rate` a second, or of (image, seconds) pairs.

    With `live` the images come on their own time, a thread takes each when it comes, and only the newest is kept.
    """
    if live:
        return LiveSource(name, lambda: _IterableCapture(images), rate, ends=True)
    if rate is not None and not rate > 0:
        raise ValueError(f"rate is {rate}, expected frames a second above 0")
    close = getattr(images, "close", lambda: None)
    return IterableSource(images, rate, name, len(images) if isinstance(images, Sequence) else None, close)


class _IterableCapture:
    """Images as a live capture."""

    def __init__(self, images: Iterable[Any]) -> None:
        self._images = iter(images)
        self._image: Any = None

    def grab(self) -> bool:
        """Take the next image, waiting for it."""
        self._image = next(self._images, None)
        return self._image is not None

    def retrieve(self) -> tuple[bool, Any]:
        """The image that was taken."""
        check_image(self._image)
        return True, self._image

    def release(self) -> None:
        """Nothing is held."""


def from_folder(folder: Path, pictures: Sequence[Path], start_s: float = 0.0, end_s: float = np.inf) -> IterableSource:
    """A source of picture files in order, PICTURES_A_SECOND a second, from `start_s` up to `end_s`."""
    chosen = [
        (path, index / PICTURES_A_SECOND)
        for index, path in enumerate(pictures)
        if start_s <= index / PICTURES_A_SECOND < end_s
    ]

    def images() -> Generator[tuple[Image, float], None, None]:
        for path, seconds in chosen:
            yield read_image(path), seconds

    read = images()
    return IterableSource(read, PICTURES_A_SECOND, str(folder), len(chosen), read.close)

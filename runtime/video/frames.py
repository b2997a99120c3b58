"""What a source of frames gives: the frame, with when it was, when it was taken and what was dropped before it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from ...pose.crop import Image

T = TypeVar("T")


@dataclass(frozen=True)
class Frame:
    """One frame of a stream."""

    image: Image
    """(H, W, 3) BGR."""
    index: int
    """Number in the stream from 0 on; dropped frames are counted."""
    time_s: float
    """Presentation time. Of a live stream: seconds since its first frame."""
    captured_s: float
    """When it was taken from the source, on the clock of `time.monotonic`."""
    dropped: int = 0
    """Frames of the stream between the one that was given before and this one, which nobody saw."""

    @property
    def age_ms(self) -> float:
        """Milliseconds since the frame was captured."""
        return 1e3 * (time.monotonic() - self.captured_s)


class FrameSource(Protocol):
    """An open source; iterating gives its frames. A source is iterated once, by one thread at a time."""

    @property
    def name(self) -> str:
        """As the user named it, without a password."""
        ...

    @property
    def live(self) -> bool:
        """Whether frames come on their own time and old ones are dropped; a file waits, and never drops."""
        ...

    @property
    def rate(self) -> float | None:
        """Frames a second by the source, if it says so."""
        ...

    @property
    def count(self) -> int | None:
        """Number of frames by the source, if it says so."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """The frames in order. ValueError at the end of a file that is cut off, after all frames before the cut."""
        ...

    def close(self) -> None:
        """Release the file or the device; may be called more than once."""
        ...

    def __enter__(self: T) -> T: ...

    def __exit__(self, *_: object) -> None: ...


class Closing:
    """A source that is closed at the end of a `with` block."""

    def close(self) -> None:
        """Release the file or the device; may be called more than once."""

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

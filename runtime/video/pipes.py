"""Named pipes as sources of video."""

import os
import select
from collections.abc import Callable
from typing import Any

Opens = Callable[[Any], Any]
"""Opens a capture, as OpenCV's VideoCapture has it, by an address of FFmpeg or a camera's number."""


class WrittenPipe:
    """A capture of a named pipe, opened once somebody writes it.

    FFmpeg would wait for a writer for ever, and miss one that was done before it came. So the pipe is opened here, and
    FFmpeg reads the open descriptor.
    """

    def __init__(self, path: str, opens: Opens, timeout_s: float) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            if not select.select([self._descriptor], [], [], timeout_s)[0]:
                raise RuntimeError(
                    f"nobody wrote to the pipe {path} within {timeout_s:g} s; start what writes it first"
                )
            os.set_blocking(self._descriptor, True)
            self._capture = opens(f"pipe:{self._descriptor}")
        except BaseException:
            os.close(self._descriptor)
            raise

    def grab(self) -> bool:
        """Read a frame; False at the end."""
        return self._capture.grab()

    def retrieve(self) -> tuple[bool, Any]:
        """Whether the frame could be decoded, and the frame."""
        return self._capture.retrieve()

    def get(self, fact: int) -> float:
        """What OpenCV's VideoCapture says of a fact."""
        return self._capture.get(fact)

    def release(self) -> None:
        """Close the pipe, which FFmpeg leaves open."""
        if self._descriptor >= 0:
            self._capture.release()
            os.close(self._descriptor)
            self._descriptor = -1

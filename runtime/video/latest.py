"""Live sources: a thread takes every frame, keeps only the newest, and opens the source again when it is lost."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from ...pose.crop import Image
from .frames import Closing, Frame

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
"""Pauses between attempts to open a lost source: each is twice the one before."""
GIVE_UP_S = 60.0
"""A source that stays away for this long has ended."""
JOIN_S = 2.0  # closing waits this long for the thread, which may hang in a driver


class Capture(Protocol):
    """An open live source, as OpenCV's VideoCapture."""

    def grab(self) -> bool:
        """Take the next frame; False if there is none."""
        ...

    def retrieve(self) -> tuple[bool, Any]:
        """Decode the frame that was taken."""
        ...

    def release(self) -> None:
        """Close it."""
        ...


class LiveSource(Closing):
    """A camera or an address. Reading gives the newest frame, once; the frames that nobody took are counted.

    When the signal is lost the source is opened again, with growing pauses; the frames go on with a later time.
    """

    live, count = True, None

    def __init__(
        self,
        name: str,
        reopen: Callable[[], Capture],
        rate: float | None = None,
        *,
        capture: Capture | None = None,
        ends: bool = False,
        give_up_s: float = GIVE_UP_S,
    ) -> None:
        """Start reading `capture`, or what `reopen` opens; `ends`: without a frame the stream is over, as of a pipe."""
        self.name, self.rate = name, rate
        self._reopen, self._ends, self._give_up_s = reopen, ends, give_up_s
        self._capture = capture or reopen()  # what is not there is said at once
        self._new = threading.Condition()
        self._frame: Frame | None = None
        self._closed, self._ended = False, False
        self._fault: BaseException | None = None
        self.reconnections = 0
        """How often the signal was lost and found again."""
        self._thread = threading.Thread(target=self._run, name=f"grab {name}", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self.take(None)) is not None:
            yield frame
        if self._fault is not None:
            raise self._fault

    def take(self, timeout_s: float | None) -> Frame | None:
        """The newest frame that was not taken yet, waiting up to `timeout_s` for it; None if none came."""
        with self._new:
            self._new.wait_for(lambda: self._frame is not None or self._ended or self._closed, timeout_s)
            frame, self._frame = self._frame, None
            return frame

    @property
    def ended(self) -> bool:
        """Whether no further frame will come."""
        with self._new:
            return (self._ended or self._closed) and self._frame is None

    def close(self) -> None:
        """Stop the thread and release the device."""
        with self._new:
            self._closed = True
            self._new.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_S)

    def _run(self) -> None:
        try:
            self._grab()
        except BaseException as error:
            self._fault = error
        finally:
            self._capture.release()
            with self._new:
                self._ended = True
                self._new.notify_all()

    def _grab(self) -> None:
        index, started = 0, None
        while not self._closed:
            image = self._next()
            if image is None:
                if self._ends or not self._connect():
                    return
                continue
            now = time.monotonic()
            started = now if started is None else started
            self._offer(Frame(image, index, now - started, now))
            index += 1

    def _next(self) -> Image | None:
        """The next frame; None if the signal is lost."""
        if not self._capture.grab():
            return None
        done, image = self._capture.retrieve()
        return np.asarray(image, np.uint8) if done else None

    def _offer(self, frame: Frame) -> None:
        """Put a frame in the place of the one that nobody took."""
        with self._new:
            missed = 0 if self._frame is None else self._frame.dropped + 1
            self._frame = replace(frame, dropped=missed)
            self._new.notify_all()

    def _connect(self) -> bool:
        """Open the source again, with growing pauses; False if it is closed or stays away."""
        self._capture.release()
        lost, pause = time.monotonic(), FIRST_PAUSE_S
        log.warning("%s is lost: opening it again", self.name)
        while not self._closed:
            try:
                self._capture = self._reopen()
            except (RuntimeError, OSError) as error:
                if time.monotonic() - lost + pause > self._give_up_s:
                    raise RuntimeError(f"{self.name} was lost and stayed away for {self._give_up_s:g} s") from error
                with self._new:
                    self._new.wait_for(lambda: self._closed, pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
            else:
                self.reconnections += 1
                return True
        return False

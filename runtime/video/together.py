"""Several sources as one batch with a deadline: nobody waits for the slowest."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

from .frames import Closing, Frame, FrameSource

DEADLINE_S = 0.04
"""From the first frame of a batch on: one frame at 25 frames a second."""


class Together(Closing):
    """Iterating gives a list with one frame, or None, of each source: those that came until the deadline.

    The deadline runs from the first frame of a batch on. A live source gives its newest frame; files give their next
    frame, and a file that has ended gives None. A source that fails ends alone: `faults` says why.
    """

    def __init__(self, sources: Sequence[FrameSource], deadline_s: float = DEADLINE_S) -> None:
        if not sources:
            raise ValueError("no sources were given, expected at least one")
        if not deadline_s > 0:
            raise ValueError(f"deadline_s is {deadline_s}, expected seconds above 0")
        self.sources, self._deadline_s = list(sources), deadline_s
        self.faults: dict[str, Exception] = {}
        """Why sources ended early, by their names."""
        self._changed = threading.Condition()
        self._slots: list[Frame | None] = [None] * len(self.sources)
        self._running = [True] * len(self.sources)
        self._closed = False
        self._threads = [
            threading.Thread(target=self._feed, args=(place,), name=f"feed {source.name}", daemon=True)
            for place, source in enumerate(self.sources)
        ]

    def __iter__(self) -> Iterator[list[Frame | None]]:
        for thread in self._threads:
            thread.start()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: any(self._slots) or not any(self._running))
                if not any(self._slots):
                    return
                self._changed.wait_for(self._complete, self._deadline_s)
                batch = self._slots
                self._slots = [None] * len(self.sources)
                self._changed.notify_all()
            yield batch

    def close(self) -> None:
        """Close all sources."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for source in self.sources:
            source.close()

    def _complete(self) -> bool:
        pairs = zip(self._slots, self._running, strict=True)
        return all(slot is not None or not running for slot, running in pairs)

    def _feed(self, place: int) -> None:
        source = self.sources[place]
        try:
            for frame in source:
                if not self._put(place, frame, source.live):
                    return
        except Exception as error:
            self.faults[source.name] = error
        finally:
            with self._changed:
                self._running[place] = False
                self._changed.notify_all()

    def _put(self, place: int, frame: Frame, live: bool) -> bool:
        """Offer a frame: a live one replaces the one that was not taken, others wait; False when all is closed."""
        with self._changed:
            if not live:
                self._changed.wait_for(lambda: self._slots[place] is None or self._closed)
            waiting = self._slots[place]
            missed = 0 if waiting is None else waiting.dropped + 1
            self._slots[place] = replace(frame, dropped=frame.dropped + missed)
            self._changed.notify_all()
            return not self._closed

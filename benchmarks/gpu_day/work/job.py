"""A step's own side: its arguments, and its JSON, which stands whole on the disk after every figure."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...results import write_result

PEOPLE_AT_ONCE = (1, 8, 64)
"""Batches that are measured."""


class AbsentError(RuntimeError):
    """What a step needs is not on this machine."""


@dataclass
class Job:
    """One run of a step."""

    name: str
    out: Path
    scratch: Path
    """A folder for its files, which a later call finds again on the same machine."""
    seconds: float
    """Its time limit."""
    carried: Path | None = None
    """The folder that `gpu_day.carry` made, if there is one."""
    stand_in: bool = False
    """Whether this is a rehearsal without a GPU: tiny sizes on the CPU."""
    facts: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def keep(self, **facts: Any) -> None:
        """Add facts, and write the JSON with all facts so far, atomically."""
        self.facts |= facts
        write_result(self.out, f"python -m lehrnet.benchmarks.gpu_day --only {self.name}", self.facts)

    def left(self) -> float:
        """Seconds until the time limit."""
        return self.seconds - (time.monotonic() - self.started)

    def carried_file(self, *parts: str) -> Path | None:
        """A path in the carried folder; None if it is not there."""
        path = None if self.carried is None else self.carried.joinpath(*parts)
        return path if path is not None and path.exists() else None

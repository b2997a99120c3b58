"""A step's own side: its arguments, and its JSON, which stands whole on the disk after every figure."""

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ....files import write_text
from ...machine import machine_facts
from ...result_format import FORMAT
from ..states import COMMAND, COMMIT
from ..steps import Settings

PEOPLE_AT_ONCE = (1, 8, 64)
"""Batches that are measured."""


class AbsentError(RuntimeError):
    """What a step needs is not on this machine."""


class PausedError(RuntimeError):
    """The step's time ends before its work; a later call goes on."""


@dataclass
class Job:
    """One run of a step."""

    name: str
    out: Path
    scratch: Path
    """A folder for its files, which a later call finds again on the same machine."""
    seconds: float
    """Its time limit."""
    settings: Settings = field(default_factory=Settings)
    facts: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    """Read once: asking the GPU takes a moment."""
    started: float = field(default_factory=time.monotonic)

    @property
    def stand_in(self) -> bool:
        """Whether this is a rehearsal without a GPU: tiny sizes on the CPU."""
        return self.settings.rehearse

    def keep(self, **facts: Any) -> None:
        """Add facts, and write the JSON with all facts so far, atomically."""
        self.facts |= facts
        if not self.machine:
            carried = self.carried_file(COMMIT)
            self.machine |= machine_facts()
            self.machine["commit"] = self.machine["commit"] or (carried.read_text().strip() if carried else None)
        content = {
            "format": FORMAT,
            "command": f"{COMMAND} --only {self.name}",
            "machine": self.machine,
            **without_nan(self.facts),
        }
        write_text(self.out, json.dumps(content, indent=1) + "\n")

    def left(self) -> float:
        """Seconds until the time limit."""
        return self.seconds - (time.monotonic() - self.started)

    def carried_file(self, *parts: str) -> Path | None:
        """A path in the carried folder; None if it is not there."""
        carried = self.settings.carried
        path = None if carried is None else carried.joinpath(*parts)
        return path if path is not None and path.exists() else None


def without_nan(value: Any) -> Any:
    """A JSON value with None in place of NaN and infinity, which JSON does not have."""
    match value:
        case dict():
            return {key: without_nan(each) for key, each in value.items()}
        case list() | tuple():
            return [without_nan(each) for each in value]
        case float() if not math.isfinite(value):
            return None
    return value

"""A report on reading a label file: entries used, entries left out with reasons, defaults filled in."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..parsing import printable

log = logging.getLogger(__name__)

SHOWN = 3
"""Examples shown for each reason."""


@dataclass
class Reading:
    """Collects the report while a label file is read; `say` logs it, `facts` returns it for JSON."""

    labels: Path
    taken: str = ""
    """The choice among several label files, such as "split val2017"."""
    used: dict[str, int] = field(default_factory=dict)
    """Number of entries used, by kind: {"images": 81, "people": 350}."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Entries left out, by reason."""
    filled: dict[str, int] = field(default_factory=dict)
    """Number of entries with a default filled in, by default."""

    def leave_out(self, entry: str, reason: str) -> None:
        """Record an entry that cannot be used."""
        self.left_out.setdefault(reason, []).append(printable(entry))

    def fill(self, what: str, count: int = 1) -> None:
        """Record `count` entries for which a default was used."""
        if count:
            self.filled[what] = self.filled.get(what, 0) + count

    @property
    def faults(self) -> int:
        """Number of entries left out."""
        return sum(map(len, self.left_out.values()))

    def require(self, kind: str, count: int) -> None:
        """Raise ValueError if faults left no entries of a kind."""
        if self.faults and not count:
            raise ValueError(f"none of its {kind} can be used: {'; '.join(self._reasons())}")

    def table(self) -> str:
        """The report as text of several lines."""
        head = f"{self.labels}{f' ({self.taken})' if self.taken else ''}"
        lines = [f"{head}: {', '.join(f'{count} {what}' for what, count in self.used.items())}"]
        lines += [f"  left out: {reason}" for reason in self._reasons()]
        lines += [f"  filled in: {what}, for {count}" for what, count in self.filled.items()]
        return "\n".join(lines)

    def facts(self) -> dict[str, Any]:
        """The report for JSON."""
        left_out = {reason: {"count": len(each), "first": each[:SHOWN]} for reason, each in self.left_out.items()}
        return {"taken": self.taken, "used": self.used, "left_out": left_out, "filled": self.filled}

    def say(self) -> None:
        """Log the table, as a warning if entries were left out, defaults filled in or a file chosen."""
        remarkable = self.left_out or self.filled or self.taken
        log.log(logging.WARNING if remarkable else logging.INFO, "%s", self.table())

    def _reasons(self) -> list[str]:
        return [
            f"{len(each)}, because {reason}: {', '.join(each[:SHOWN])}{', ...' if len(each) > SHOWN else ''}"
            for reason, each in self.left_out.items()
        ]

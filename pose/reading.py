"""What reading a label file did with what is in it: used, left out and why, filled in. One table, said once."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..parsing import printable

log = logging.getLogger(__name__)

SHOWN = 3
"""Examples of each reason."""


@dataclass
class Reading:
    """Filled while a label file is read; `say` logs it, `facts` are for JSON."""

    labels: Path
    taken: str = ""
    """Which of several label files this is, and why."""
    used: dict[str, int] = field(default_factory=dict)
    """How many of what: {"images": 81, "people": 350}."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """By reason, the entries that were left out."""
    filled: dict[str, int] = field(default_factory=dict)
    """By what was done, how many entries lacked something that has a default."""

    def leave_out(self, entry: str, reason: str) -> None:
        """One entry cannot be used."""
        self.left_out.setdefault(reason, []).append(printable(entry))

    def fill(self, what: str, count: int = 1) -> None:
        """A default was taken."""
        if count:
            self.filled[what] = self.filled.get(what, 0) + count

    @property
    def faults(self) -> int:
        """Entries that were left out."""
        return sum(map(len, self.left_out.values()))

    def require(self, kind: str, count: int) -> None:
        """ValueError where faults left nothing of a kind."""
        if self.faults and not count:
            raise ValueError(f"none of its {kind} can be used: {'; '.join(self._reasons())}")

    def table(self) -> str:
        """Several lines for a person."""
        head = f"{self.labels}{f' ({self.taken})' if self.taken else ''}"
        lines = [f"{head}: {', '.join(f'{count} {what}' for what, count in self.used.items())}"]
        lines += [f"  left out: {reason}" for reason in self._reasons()]
        lines += [f"  filled in: {what}, for {count}" for what, count in self.filled.items()]
        return "\n".join(lines)

    def facts(self) -> dict[str, Any]:
        """The same for JSON."""
        left_out = {reason: {"count": len(each), "first": each[:SHOWN]} for reason, each in self.left_out.items()}
        return {"taken": self.taken, "used": self.used, "left_out": left_out, "filled": self.filled}

    def say(self) -> None:
        """Log the table; as a warning where something was left out, filled in or chosen."""
        remarkable = self.left_out or self.filled or self.taken
        log.log(logging.WARNING if remarkable else logging.INFO, "%s", self.table())

    def _reasons(self) -> list[str]:
        return [
            f"{len(each)}, because {reason}: {', '.join(each[:SHOWN])}{', ...' if len(each) > SHOWN else ''}"
            for reason, each in self.left_out.items()
        ]

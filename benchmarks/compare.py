"""Two results of `lehrnet bench` or of `lehrnet evaluate`: what got slower or less accurate beyond the noise."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..parsing import naming
from .results import FORMAT

SLACK = 0.05  # a twentieth is not worth a word, however quiet the machine was
ACCURACY_SLACK = 0.002  # of AP or PCKh: the same weights on another machine differ by less


@dataclass(frozen=True)
class Change:
    """One figure that both results have."""

    figure: str
    old: float
    new: float
    noise: float
    """By how much it may differ without meaning anything, in its own unit."""
    more_is_better: bool = False

    @property
    def worse(self) -> bool:
        """Whether it got worse beyond the noise."""
        lost = self.old - self.new if self.more_is_better else self.new - self.old
        return lost > self.noise

    def __str__(self) -> str:
        verdict = "WORSE" if self.worse else "ok"
        return f"{self.figure:48} {self.old:10.3f} {self.new:10.3f}  {self.new / self.old:6.2f}x  {verdict}"


def read_result(path: Path) -> dict[str, Any]:
    """Read a result; ValueError for a file of another format."""
    if not path.is_file():
        raise FileNotFoundError(f"no result at {path}")
    with naming(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content.get("format") if isinstance(content, dict) else None
        if found != FORMAT:
            raise ValueError(f"its format is {found!r}, expected {FORMAT!r}: `lehrnet bench --result FILE` writes one")
    return content


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """Every latency and accuracy that both results hold; ValueError where they share none."""
    changes = []
    for name, subject in old.get("subjects", {}).items():
        for batch, figures in subject["batches"].items():
            after = new.get("subjects", {}).get(name, {}).get("batches", {}).get(batch)
            if after is not None:
                changes += _latencies(f"{name}, batch {batch}", figures, after)
    for name, before in old.get("figures", {}).items():
        after = new.get("figures", {}).get(name)
        if before is not None and after is not None:
            changes.append(Change(name, before, after, ACCURACY_SLACK, more_is_better=True))
    if not changes:
        raise ValueError(
            "the two results share no figure: compare two of `lehrnet bench`, or two of `lehrnet evaluate`"
        )
    return changes


def _latencies(name: str, before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    """p50 of the network and of the whole way; their noise is the wider dispersion of both, or a twentieth."""
    return [
        Change(
            f"{name}: {stage}, ms",
            before[stage]["p50"],
            after[stage]["p50"],
            max(before[stage]["dispersion"], after[stage]["dispersion"], SLACK * before[stage]["p50"]),
        )
        for stage in ("network", "end to end")
    ]

"""Comparison of two results of `lehrnet bench` or `lehrnet evaluate`: regressions beyond the noise."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..parsing import parse, printable, read_json
from .results import FORMAT

SLACK = 0.05  # relative changes up to this are ignored, even with less noise
LARGEST = 256 << 20  # bytes of a result
ACCURACY_SLACK = 0.002  # of AP or PCKh: the same weights on another machine differ by less


@dataclass(frozen=True)
class Change:
    """A figure in both results."""

    figure: str
    old: float
    new: float
    noise: float
    """Largest insignificant difference, in the figure's unit."""
    more_is_better: bool = False

    @property
    def worse(self) -> bool:
        """Whether the figure got worse by more than the noise."""
        lost = self.old - self.new if self.more_is_better else self.new - self.old
        return lost > self.noise

    def __str__(self) -> str:
        verdict = "WORSE" if self.worse else "ok"
        times = f"{self.new / self.old:6.2f}x" if self.old else f"{'-':>7}"
        return f"{self.figure:48} {self.old:10.3f} {self.new:10.3f}  {times}  {verdict}"


@dataclass(frozen=True)
class _Stage:
    """The latency of a stage."""

    p50: float
    dispersion: float

    def __post_init__(self) -> None:
        if self.p50 < 0 or self.dispersion < 0:
            raise ValueError(f"p50 {self.p50}, dispersion {self.dispersion}: expected no time below 0")


@dataclass(frozen=True)
class _Subject:
    """Latencies of a subject, by batch and stage."""

    batches: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class _Result:
    """The parts of a result that can be compared."""

    subjects: Mapping[str, _Subject] = field(default_factory=dict)
    figures: Mapping[str, float | None] = field(default_factory=dict)


def read_result(path: Path) -> dict[str, Any]:
    """Read a result; ValueError for a file of another format."""
    if not path.is_file():
        raise FileNotFoundError(f"no result at {path}")
    content = read_json(path, LARGEST)
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        shown = printable(repr(found))[:80]
        raise ValueError(
            f"{path}: its format is {shown}, expected {FORMAT!r}: `lehrnet bench --result FILE` writes one"
        )
    return content


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """Compare every latency and accuracy that both results have.

    ValueError if they have none in common, or if a result is invalid.
    """
    before, after = parse(_Result, old, "the old result"), parse(_Result, new, "the new result")
    changes = []
    for name, subject in before.subjects.items():
        for batch, stages in subject.batches.items():
            now = after.subjects[name].batches.get(batch) if name in after.subjects else None
            if now is not None:
                changes += _latencies(f"{printable(name)}, batch {printable(batch)}", stages, now)
    for name, figure in before.figures.items():
        now = after.figures.get(name)
        if figure is not None and now is not None:
            changes.append(Change(printable(name), figure, now, ACCURACY_SLACK, more_is_better=True))
    if not changes:
        raise ValueError(
            "the two results share no figure: compare two of `lehrnet bench`, or two of `lehrnet evaluate`"
        )
    return changes


def _latencies(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Changes in p50 of the network and end to end; the noise is the larger dispersion of both, at least SLACK."""
    changes = []
    for stage in ("network", "end to end"):
        old, new = (parse(_Stage, each.get(stage), f"{name}, {stage}") for each in (before, after))
        noise = max(old.dispersion, new.dispersion, SLACK * old.p50)
        changes.append(Change(f"{name}: {stage}, ms", old.p50, new.p50, noise))
    return changes

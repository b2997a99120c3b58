"""Mixed-precision search: the fastest selection of INT8 units whose accuracy drop stays within a budget."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import takewhile
from typing import Any

from onnx import ModelProto

from ..parsing import parse
from ..pose.drift import Drift
from .graph import Graph
from .judge import Judge
from .observers import Method
from .quantize import TENSORRT, quantize
from .ranges import Ranges
from .target import modelled_seconds
from .units import Unit, convs_of, quantizable_units, total_macs

Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""Wraps an iterable in a progress bar: (iterable, description, total)."""


@dataclass(frozen=True)
class Effort:
    """How thorough the search is."""

    sensitivity_batches: int | None
    """Batches of 16 people to measure each unit's sensitivity on; None: all judged people."""
    mixes: int | None
    """Number of mixes to judge on all people; None: one for each number of INT8 units."""


EFFORTS: Mapping[str, Effort] = {"quick": Effort(4, 10), "thorough": Effort(None, None)}


@dataclass(frozen=True)
class Budget:
    """Largest accuracy drop that INT8 may cost on the judged people; None: no limit."""

    ap: float | None = None
    """Drop in AP against labels, from 0 to 1."""
    oks: float | None = None
    """Drop in mean OKS against the FP32 network's own keypoints, from 0 to 1; needs no labels."""

    def __post_init__(self) -> None:
        asked = [limit for limit in (self.ap, self.oks) if limit is not None]
        if not asked or not all(0 <= limit <= 1 for limit in asked):
            raise ValueError(f"the budget is {self.ap} in AP and {self.oks} in OKS, expected a drop of 0 to 1 in one")

    def excess(self, drift: Drift) -> float:
        """By how much a drift exceeds the budget; 0 or less if it is kept."""
        excesses = [] if self.oks is None else [drift.oks_drop - self.oks]
        if self.ap is not None:
            if drift.ap_drop is None:
                raise ValueError("an AP budget needs labelled people, and these have no keypoints; use --max-oks-drop")
            excesses.append(drift.ap_drop - self.ap)
        return max(excesses)

    def kept_by(self, drift: Drift) -> bool:
        """Whether a drift stays within the budget."""
        return self.excess(drift) <= 0

    def broken_by(self, drift: Drift) -> bool:
        """Whether a drift measured on other people exceeds the budget; OKS may exceed it by two standard errors."""
        lenient = replace(self, oks=None if self.oks is None else min(1.0, self.oks + 2 * drift.oks_error))
        return not lenient.kept_by(drift)

    def __str__(self) -> str:
        limits = (("AP", self.ap), ("OKS", self.oks))
        return " and ".join(f"{name} drop within {limit:g}" for name, limit in limits if limit is not None)


LABELLED = Budget(ap=0.010, oks=0.040)
"""Default with labels. On a few hundred people AP alone is too coarse; OKS also detects units that displace joints."""
UNLABELLED = Budget(oks=LABELLED.oks)


@dataclass(frozen=True)
class UnitSelection:
    """A mix: some units in INT8, the others in FP16."""

    units: tuple[str, ...]
    int8_macs: float
    """Share of all multiply-adds that run in INT8."""
    speed: float
    """Modelled speed-up over the FP16 graph on the target device."""
    drift: Drift

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        return {**asdict(self), "drift": self.drift.facts()}


@dataclass(frozen=True)
class Search:
    """Results of the mixed-precision search."""

    sensitivity: Mapping[str, float]
    """OKS drop of each unit quantized alone."""
    mixes: tuple[UnitSelection, ...]
    """Sorted by the number of INT8 units, from none to all."""

    def within(self, budget: Budget) -> tuple[UnitSelection, ...]:
        """The INT8 mixes before the first one that exceeds the budget, slowest first.

        Later mixes are excluded even if they keep the budget: on a sample of people that would be chance.
        """
        tried = [mix for mix in self.mixes if mix.units]
        return tuple(takewhile(lambda mix: budget.kept_by(mix.drift), tried))

    def closest(self, budget: Budget) -> Drift:
        """The drift of the INT8 mix that comes closest to the budget."""
        return min((mix.drift for mix in self.mixes if mix.units), key=budget.excess)


@dataclass(frozen=True)
class Int8Choice:
    """The chosen INT8 units and the search that led to them, as stored in a bundle's manifest."""

    method: Method
    """Calibration method that turned activation ranges into scales."""
    units: tuple[str, ...]
    int8_macs: float
    """Share of all multiply-adds that run in INT8."""
    budget: Budget | None = None
    """The budget that was kept. None, with all fields below empty, if there were no people to judge on."""
    sensitivity: Mapping[str, float] = field(default_factory=dict)
    mixes: tuple[UnitSelection, ...] = ()
    pareto: tuple[int, ...] = ()
    """Numbers of INT8 units of the Pareto-optimal mixes."""
    units_by_budget: Mapping[str, int | None] = field(default_factory=dict)
    """Number of INT8 units that other budgets would allow, keyed by the drop; None if no mix keeps the budget."""

    @classmethod
    def of(cls, measured: Mapping[str, Any]) -> "Int8Choice | None":
        """Read the choice from an artefact's `measured`; None for graphs that are not INT8."""
        return parse(cls, measured["int8"], "int8") if "int8" in measured else None

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        return {**asdict(self), "mixes": [mix.facts() for mix in self.mixes]}


def search(
    graph: Graph,
    ranges: Ranges,
    judge: Judge,
    *,
    method: Method,
    effort: Effort,
    progress: Progress = lambda things, _, __: things,
) -> Search:
    """Measure each unit's sensitivity alone, sort by OKS drop per second saved, and judge mixes in that order.

    The judged graphs have FP32 in place of FP16: ONNX Runtime's CPU runs them fast, and FP16's own drift is a
    hundredth of INT8's. The graph that is written in the end is judged once more, as it is.
    """
    thresholds, non_negative = ranges.thresholds(method), ranges.non_negative
    units = quantizable_units(graph)

    def built(chosen: Iterable[Unit]) -> ModelProto:
        return quantize(graph, convs_of(chosen), thresholds, non_negative, TENSORRT)

    sensitivity = {
        unit.name: judge(built([unit]), effort.sensitivity_batches).oks_drop
        for unit in progress(units, "sensitivity of units", len(units))
    }
    slowest = modelled_seconds(graph)
    saved = {unit.name: slowest - modelled_seconds(graph, unit.convs) for unit in units}
    order = sorted(units, key=lambda unit: sensitivity[unit.name] / max(saved[unit.name], 1e-9))
    mixes = []
    counts = _counts(len(order), effort.mixes)
    for count in progress(counts, "mixes", len(counts)):
        chosen = order[:count]
        mixes.append(
            UnitSelection(
                units=tuple(unit.name for unit in chosen),
                int8_macs=sum(unit.macs for unit in chosen) / total_macs(graph),
                speed=slowest / modelled_seconds(graph, convs_of(chosen)),
                drift=judge(built(chosen) if chosen else graph.model),
            )
        )
    return Search(sensitivity, tuple(mixes))


def pareto(mixes: Sequence[UnitSelection]) -> list[UnitSelection]:
    """The Pareto-optimal mixes in speed and OKS drop, slowest first."""
    kept: list[UnitSelection] = []
    for mix in sorted(mixes, key=lambda mix: (-mix.speed, mix.drift.oks_drop)):
        if not kept or mix.drift.oks_drop < kept[-1].drift.oks_drop:
            kept.append(mix)
    return kept[::-1]


def _counts(units: int, mixes: int | None) -> list[int]:
    """Numbers of INT8 units to try: none, all, and between them denser towards all."""
    if mixes is None or mixes > units:
        return list(range(units + 1))
    steps = (1 - (1 - step / (mixes - 1)) ** 2 for step in range(mixes))
    return sorted({round(units * step) for step in steps})

"""Which units become INT8: the fastest mix whose keypoints stay within the user's budget."""

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
"""Wraps a loop in a progress bar: the things, what they are called, and how many there are."""


@dataclass(frozen=True)
class Effort:
    """How long the search may take."""

    sensitivity_batches: int | None
    """Of 16 people, on which each unit is tried alone; None is everyone."""
    mixes: int | None
    """How many mixes are judged on everyone; None is one for each number of INT8 units."""


EFFORTS: Mapping[str, Effort] = {"quick": Effort(4, 10), "thorough": Effort(None, None)}


@dataclass(frozen=True)
class Budget:
    """How much accuracy INT8 may cost on the judged people; a limit that is None is not asked for."""

    ap: float | None = None
    """Drop against labels."""
    oks: float | None = None
    """Drop of likeness with the FP32 network's own keypoints: also where no labels exist."""

    def __post_init__(self) -> None:
        asked = [limit for limit in (self.ap, self.oks) if limit is not None]
        if not asked or not all(0 <= limit <= 1 for limit in asked):
            raise ValueError(f"the budget is {self.ap} in AP and {self.oks} in OKS, expected a drop of 0 to 1 in one")

    def excess(self, drift: Drift) -> float:
        """By how much a drift breaks the budget; 0 or less where it is kept."""
        excesses = [] if self.oks is None else [drift.oks_drop - self.oks]
        if self.ap is not None:
            if drift.ap_drop is None:
                raise ValueError("an AP budget needs labelled people, and these have no keypoints; use --max-oks-drop")
            excesses.append(drift.ap_drop - self.ap)
        return max(excesses)

    def kept_by(self, drift: Drift) -> bool:
        """Whether a drift stays within it."""
        return self.excess(drift) <= 0

    def broken_by(self, drift: Drift) -> bool:
        """Whether a drift on other people breaks it: in AP, or in OKS beyond twice the error of so small a sample."""
        lenient = replace(self, oks=None if self.oks is None else min(1.0, self.oks + 2 * drift.oks_error))
        return not lenient.kept_by(drift)

    def __str__(self) -> str:
        limits = (("AP", self.ap), ("OKS", self.oks))
        return " and ".join(f"{name} drop within {limit:g}" for name, limit in limits if limit is not None)


LABELLED = Budget(ap=0.010, oks=0.040)
"""Where nothing is asked for. AP alone is blunt on some hundred people: OKS tells of a unit that moves joints about."""
UNLABELLED = Budget(oks=LABELLED.oks)


@dataclass(frozen=True)
class UnitSelection:
    """Some units in INT8, the others in FP16."""

    units: tuple[str, ...]
    int8_macs: float
    """Share of all multiply-adds."""
    speed: float
    """Modelled, on the target device; the FP16 graph is 1."""
    drift: Drift

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        return {**asdict(self), "drift": self.drift.facts()}


@dataclass(frozen=True)
class Search:
    """What was tried, in the order in which units were given up."""

    sensitivity: Mapping[str, float]
    """OKS that each unit costs alone."""
    mixes: tuple[UnitSelection, ...]
    """From none in INT8 to all of them."""

    def within(self, budget: Budget) -> tuple[UnitSelection, ...]:
        """The mixes with INT8 before the first that breaks the budget, from the slowest to the fastest.

        A mix beyond one that broke it would keep it by luck: the judged people are a sample.
        """
        tried = [mix for mix in self.mixes if mix.units]
        return tuple(takewhile(lambda mix: budget.kept_by(mix.drift), tried))

    def closest(self, budget: Budget) -> Drift:
        """The drift of the mix with INT8 that came closest to a budget."""
        return min((mix.drift for mix in self.mixes if mix.units), key=budget.excess)


@dataclass(frozen=True)
class Int8Choice:
    """Which units became INT8 and why, as it stands with the graph in a bundle's manifest."""

    method: Method
    """By which activations' ranges became scales."""
    units: tuple[str, ...]
    int8_macs: float
    """Share of all multiply-adds."""
    budget: Budget | None = None
    """What was kept; None, and nothing below, where there was nobody to judge on and all units were taken."""
    sensitivity: Mapping[str, float] = field(default_factory=dict)
    mixes: tuple[UnitSelection, ...] = ()
    pareto: tuple[int, ...] = ()
    """How many units those mixes have in INT8 that no other one beats."""
    units_by_budget: Mapping[str, int | None] = field(default_factory=dict)
    """How many units other budgets would have given, by the drop that they allow; None for no graph at all."""

    @classmethod
    def of(cls, measured: Mapping[str, Any]) -> "Int8Choice | None":
        """As an artefact's `measured` holds it; None for other graphs."""
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
    """Try each unit in INT8 alone, then mixes of the ones that cost least for what they save.

    The graphs judged have FP32 where the written one has FP16: ONNX Runtime's CPU runs those fast, and FP16's own
    drift is a hundredth of INT8's. The written graph is judged once more, as it is.
    """
    thresholds, non_negative = ranges.thresholds(method), ranges.non_negative
    units = quantizable_units(graph)

    def built(chosen: Iterable[Unit]) -> ModelProto:
        return quantize(graph, convs_of(chosen), thresholds, non_negative, TENSORRT)

    sensitivity = {
        unit.name: judge(built([unit]), effort.sensitivity_batches).oks_drop
        for unit in progress(units, "units alone", len(units))
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
    """The mixes that no other one beats in both speed and likeness, slowest first."""
    kept: list[UnitSelection] = []
    for mix in sorted(mixes, key=lambda mix: (-mix.speed, mix.drift.oks_drop)):
        if not kept or mix.drift.oks_drop < kept[-1].drift.oks_drop:
            kept.append(mix)
    return kept[::-1]


def _counts(units: int, mixes: int | None) -> list[int]:
    """How many units the mixes have: none, all, and in between closer together towards all."""
    if mixes is None or mixes > units:
        return list(range(units + 1))
    steps = (1 - (1 - step / (mixes - 1)) ** 2 for step in range(mixes))
    return sorted({round(units * step) for step in steps})

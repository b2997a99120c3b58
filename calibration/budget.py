"""Which units become INT8: the fastest mix whose keypoints stay within the user's budget."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import Any, Literal

from onnx import ModelProto

from ..pose.drift import Drift
from .graph import Graph
from .judge import Judge
from .observers import Method
from .quantize import TENSORRT, quantise
from .ranges import Ranges
from .target import modelled_seconds
from .units import Unit, quantisable_units, total_macs

Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]
Figure = Literal["ap", "oks"]


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
    """How much accuracy INT8 may cost, on the judged people."""

    figure: Figure
    """ap: against labels. oks: likeness with the FP32 network's own keypoints, where no labels exist."""
    drop: float

    def __post_init__(self) -> None:
        if not 0 <= self.drop <= 1:
            raise ValueError(f"the budget is a drop of {self.drop} in {self.figure.upper()}, expected 0 to 1")

    def cost(self, drift: Drift) -> float:
        """The part of a budget that a mix uses up."""
        if self.figure == "oks":
            return drift.oks_drop
        if drift.ap_drop is None:
            raise ValueError("an AP budget needs labelled people, and these have no keypoints; use --max-oks-drop")
        return drift.ap_drop


DEFAULT_BUDGETS: Mapping[Figure, Budget] = {"ap": Budget("ap", 0.010), "oks": Budget("oks", 0.050)}


@dataclass(frozen=True)
class Mix:
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
    mixes: tuple[Mix, ...]
    """From none in INT8 to all of them."""

    def within(self, budget: Budget) -> tuple[Mix, ...]:
        """The mixes with INT8 before the first that breaks the budget, from the slowest to the fastest.

        A mix beyond one that broke it would keep it by luck: the judged people are a sample.
        """
        tried = [mix for mix in self.mixes if mix.units]
        return tuple(takewhile(lambda mix: budget.cost(mix.drift) <= budget.drop, tried))

    def closest(self, budget: Budget) -> float:
        """The least that a mix with INT8 cost."""
        return min(budget.cost(mix.drift) for mix in self.mixes if mix.units)


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
    units = quantisable_units(graph)

    def built(chosen: Iterable[Unit]) -> ModelProto:
        convs = {name for unit in chosen for name in unit.convs}
        return quantise(graph, convs, thresholds, non_negative, TENSORRT)

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
        convs = {name for unit in chosen for name in unit.convs}
        mixes.append(
            Mix(
                units=tuple(unit.name for unit in chosen),
                int8_macs=sum(unit.macs for unit in chosen) / total_macs(graph),
                speed=slowest / modelled_seconds(graph, convs),
                drift=judge(built(chosen) if chosen else graph.model),
            )
        )
    return Search(sensitivity, tuple(mixes))


def pareto(mixes: Sequence[Mix], figure: Figure) -> list[Mix]:
    """The mixes that no other one beats in both speed and accuracy, slowest first."""
    budget = Budget(figure, 1.0)
    kept: list[Mix] = []
    for mix in sorted(mixes, key=lambda mix: (-mix.speed, budget.cost(mix.drift))):
        if not kept or budget.cost(mix.drift) < budget.cost(kept[-1].drift):
            kept.append(mix)
    return kept[::-1]


def _counts(units: int, mixes: int | None) -> list[int]:
    """How many units the mixes have: none, all, and in between closer together towards all."""
    if mixes is None or mixes > units:
        return list(range(units + 1))
    steps = (1 - (1 - step / (mixes - 1)) ** 2 for step in range(mixes))
    return sorted({round(units * step) for step in steps})

"""Graphs in FP16, BF16 and INT8 made from an FP32 graph, with what was measured on the way."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import onnx
from onnx import ModelProto

from ..calibration.budget import (
    EFFORTS,
    LABELLED,
    UNLABELLED,
    Budget,
    Int8Choice,
    Search,
    pareto,
    search,
)
from ..calibration.calibrate import Calibration, Progress, calibrate
from ..calibration.graph import Graph
from ..calibration.precision import careful_islands, check_overflow, fp32_islands, typed
from ..calibration.quantize import CPU, TENSORRT, quantize
from ..calibration.rules import broken_rules
from ..calibration.units import convs_of, quantizable_units, total_macs
from ..pose.drift import Drift
from ..pose.spec import PoseSpec
from ..runtime.backends.library_path import library_fault
from ..runtime.bundle import IN_ENGINES_ONLY, NATIVE, Requirement

log = logging.getLogger(__name__)
T = TypeVar("T")

Precision = Literal["fp32", "fp16", "bf16", "int8", "int8_cpu"]
"""int8 is for TensorRT: symmetric Q/DQ, the rest in FP16. int8_cpu is for CPUs, the rest in FP32: ONNX Runtime's graph
has uint8 activations, our own engine's packed network those of `calibration.steps`."""


@dataclass(frozen=True)
class GraphKind:
    """The graph behind a name of `lehrnet export --precisions`."""

    precision: Precision
    dense_from: int | None = None
    """Branch (0 is the finest) from which on LConvs are dense convs: an equal form, a candidate for `lehrnet tune`."""
    fused: bool = False
    """Whether EMA is the operator of TensorRT's plugin (module `fused`): an equal form."""
    native: bool = False
    """Whether it is a packed network for our own CPU engine (module `native`), no graph: of FP32 an equal form."""
    requires: tuple[Requirement, ...] = ()

    @property
    def equal_form(self) -> bool:
        """Whether it computes the same function as the plain graph of its precision."""
        return self.fused or self.dense_from is not None or (self.native and self.precision == "fp32")

    @property
    def suffix(self) -> str:
        """Of its file."""
        return NATIVE if self.native else ".onnx"


_DENSE = (3, 2, 1, 0)
GRAPHS: Mapping[str, GraphKind] = {
    "fp32": GraphKind("fp32"),
    "native_fp32": GraphKind("fp32", native=True, requires=("lehrnet_library",)),
    **{f"fp32_dense{branch}": GraphKind("fp32", dense_from=branch) for branch in _DENSE},
    "fp16": GraphKind("fp16"),
    **{f"fp16_dense{branch}": GraphKind("fp16", dense_from=branch) for branch in _DENSE},
    "fp16_ema": GraphKind("fp16", fused=True, requires=("lehrnet_plugin",)),
    "bf16": GraphKind("bf16", requires=("bf16",)),
    "int8": GraphKind("int8"),
    "int8_cpu": GraphKind("int8_cpu"),
    "native_int8": GraphKind("int8_cpu", native=True, requires=("lehrnet_library",)),
}
PRECISIONS = tuple(GRAPHS)
TABLE_BUDGETS = (0.002, 0.005, 0.01, 0.02)


def equal_forms(names: Iterable[str]) -> tuple[str, ...]:
    """Names of the equal forms of `fp32` (and of `fp16`, if it is among `names`) that can be verified here."""
    precisions = {"fp32", *({"fp16"} if "fp16" in names else ())}
    return tuple(
        name
        for name, kind in GRAPHS.items()
        if kind.equal_form
        and kind.precision in precisions
        and not IN_ENGINES_ONLY.intersection(kind.requires)
        and not library_fault(kind.requires)
    )


@dataclass(frozen=True)
class WrittenGraph:
    """A graph, its precision and its measurements."""

    model: ModelProto
    precision: Precision
    measured: Mapping[str, Any] = field(default_factory=dict)


class PrecisionWriter:
    """Converts an FP32 graph to other precisions; it is calibrated once, and its units are searched once, if needed."""

    def __init__(
        self,
        fp32: Path,
        spec: PoseSpec,
        calibration: Calibration | None,
        ranges: Path,
        progress: Progress = lambda things, _, __: things,
    ) -> None:
        self.calibration, self._progress = calibration or Calibration(), progress
        found = calibrate(fp32, spec, self.calibration, ranges, progress)
        self.graph, self.ranges, self.judge = found.graph, found.ranges, found.judge

    def write(self, precision: Precision) -> WrittenGraph:
        """Make the graph of a precision and check it as far as a CPU can; ValueError if a check fails."""
        match precision:
            case "fp16" | "bf16":
                return self._floating(precision)
            case "int8" | "int8_cpu":
                return self._integer(precision)
        raise ValueError(f"precision is {precision!r}, expected fp16, bf16, int8 or int8_cpu")

    @property
    def islands(self) -> set[str]:
        """Nodes that stay in FP32 in an FP16 graph: by activation ranges or, without them, by operator type."""
        if self.ranges is None:
            return careful_islands(self.graph)
        return fp32_islands(self.graph, self.ranges.amax)

    def _floating(self, precision: Literal["fp16", "bf16"]) -> WrittenGraph:
        islands = self.islands if precision == "fp16" else set()
        model = typed(self.graph, precision, islands)
        if precision == "bf16":
            model.opset_import[0].version = BF16_OPSET
        facts: dict[str, Any] = {"fp32_islands": len(islands), "islands_by": "ranges" if self.ranges else "operator"}
        if self.judge is not None and precision != "bf16":
            check_overflow(model, self.judge.batches[0][0])
            facts["judged"] = self.judge(model).facts()
        return WrittenGraph(model, precision, facts)

    def _integer(self, precision: Literal["int8", "int8_cpu"]) -> WrittenGraph:
        model, measured = self.choose(precision, lambda units: self._built(units, precision), self._judged)
        return WrittenGraph(model, precision, measured)

    def _judged(self, model: ModelProto) -> Drift:
        assert self.judge is not None
        return self.judge(model)

    def choose(
        self,
        name: str,
        built: Callable[[Sequence[str]], T],
        judged: Callable[[T], Drift],
        floats: Collection[str] = (),
    ) -> tuple[T, dict[str, Any]]:
        """What `built` makes of the fastest mix of units that keeps the budget when it is `judged`; and measurements.

        Units named in `floats` are left out of every mix. Without people to judge on the mix is all units. ValueError
        without ranges, and if no mix keeps the budget.
        """
        if self.ranges is None:
            raise ValueError(f"{name} needs people to calibrate on: name a data folder with --calibration FOLDER")
        if self.judge is None:
            log.warning("no people to judge on: every unit becomes INT8, whatever its accuracy drop")
            units = [unit.name for unit in quantizable_units(self.graph) if unit.name not in floats]
            return built(units), {"int8": self._choice(units).facts()}
        for mix in reversed(self._found.within(self.budget)):
            units = [unit for unit in mix.units if unit not in floats]
            made = built(units)
            drift = judged(made)
            if self.budget.kept_by(drift):
                return made, {"int8": self._choice(units, self._found).facts(), "judged": drift.facts()}
        closest = self._found.closest(self.budget)
        ap = "" if closest.ap_drop is None else f" and of {closest.ap_drop:.4f} in AP"
        raise ValueError(
            f"no {name} graph keeps the budget ({self.budget}); the closest has a drop of {closest.oks_drop:.4f} "
            f"in OKS{ap}. Allow more, calibrate on more people, or fine-tune (`lehrnet finetune`)"
        )

    @property
    def budget(self) -> Budget:
        """The calibration's budget, or the default one for labelled or for unlabelled people."""
        assert self.judge is not None
        return self.calibration.budget or (LABELLED if self.judge.labelled else UNLABELLED)

    @cached_property
    def _found(self) -> Search:
        assert self.judge is not None
        assert self.ranges is not None
        if self.budget.ap is not None and not self.judge.labelled:
            raise ValueError("an AP budget needs labelled people, and these have none; use --max-oks-drop")
        return search(
            self.graph,
            self.ranges,
            self.judge,
            method=self.calibration.method,
            effort=EFFORTS[self.calibration.effort],
            progress=self._progress,
        )

    def convs_of(self, units: Collection[str]) -> set[str]:
        """Names of the convs of the units with these names."""
        return convs_of(unit for unit in quantizable_units(self.graph) if unit.name in units)

    @cached_property
    def thresholds(self) -> dict[str, float]:
        """Clipping threshold of each observed tensor by the calibration's method."""
        assert self.ranges is not None
        return self.ranges.thresholds(self.calibration.method)

    def _built(self, units: Sequence[str], precision: Literal["int8", "int8_cpu"]) -> ModelProto:
        assert self.ranges is not None
        scheme = TENSORRT if precision == "int8" else CPU
        non_negative = self.ranges.non_negative
        model = quantize(self.graph, self.convs_of(units), self.thresholds, non_negative, scheme)
        if precision == "int8_cpu":
            return model
        model = typed(Graph(onnx.shape_inference.infer_shapes(model)), "fp16", self.islands)
        broken = broken_rules(model)
        if broken:
            raise RuntimeError(f"{len(broken)} of TensorRT's rules are broken: {broken[0]}; please report this")
        return model

    def _choice(self, units: Sequence[str], searched: Search | None = None) -> Int8Choice:
        chosen = set(units)
        macs = sum(unit.macs for unit in quantizable_units(self.graph) if unit.name in chosen)
        choice = Int8Choice(self.calibration.method, tuple(units), macs / total_macs(self.graph))
        if searched is None:
            return choice
        kept = {drop: searched.within(self._drop(drop)) for drop in TABLE_BUDGETS}
        return replace(
            choice,
            budget=self.budget,
            sensitivity=searched.sensitivity,
            mixes=searched.mixes,
            pareto=tuple(len(mix.units) for mix in pareto(searched.mixes)),
            units_by_budget={str(drop): len(mixes[-1].units) if mixes else None for drop, mixes in kept.items()},
        )

    def _drop(self, drop: float) -> Budget:
        """A budget of this drop, in AP if the judged people are labelled, else in OKS."""
        assert self.judge is not None
        return Budget(ap=drop) if self.judge.labelled else Budget(oks=drop)


BF16_OPSET = 22  # the first opset whose Conv takes BF16

"""Steps of bytes for our own CPU engine: what each operator reads is held in 127 steps of its clipping threshold."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from onnx import NodeProto

from .graph import Graph
from .quantize import LARGEST, SMALLEST_SCALE
from .units import unit_of

FLOAT_UNITS = ("stem", "head")
"""Units that our engine always computes in floats: few multiply-adds, and the stem's input is as often below 0."""
_PARTIAL = re.compile(r"(?P<lconv>.+)\.partial\.conv|(?P<unit>.+)\.pair\.(?P<place>first|second)_partial(\.conv)?")
_COVERED = re.compile(r".+\.pointwise|.+\.pair\.(first_quarter|first_rest|second_pointwise)")


@dataclass(frozen=True)
class Steps:
    """What a step of an operator's bytes is worth."""

    read: float
    """Of its input's, which is never below 0."""
    partial: float | None = None
    """Of its partial conv's output; None for an operator without one, or whose partial conv stays in floats."""


def operator_steps(graph: Graph, convs: Collection[str], thresholds: Mapping[str, float]) -> dict[str, Steps]:
    """Steps of the operators whose convs are named in `convs`, by the operator's path in the network with norms folded.

    An operator is an LConv or any other conv outside EMA. Those of `FLOAT_UNITS` are left out. The graph is `fp32`,
    whose residual units are in the form "pair".
    """
    found: dict[str, Steps] = {}
    for node in graph.nodes:
        if node.name not in convs or unit_of(node.name) in FLOAT_UNITS:
            continue
        path = node.input[1].removesuffix(".weight")
        partial = _PARTIAL.fullmatch(path)
        if partial is not None:
            operator = partial["lconv"] or f"{partial['unit']}.{partial['place']}"
            found[operator] = _lconv_steps(graph, node, thresholds)
        elif not _COVERED.fullmatch(path):
            found[path] = Steps(_step(thresholds[node.input[0]]))
    return found


def _lconv_steps(graph: Graph, partial: NodeProto, thresholds: Mapping[str, float]) -> Steps:
    """Of an LConv by its partial conv, which shares the LConv's input with the quarters that it leaves alone."""
    quarter = partial.input[0]
    if len(partial.input) == 3:  # one that narrows has its norm here; its pointwise conv comes first
        split = graph.producer[quarter]
        return Steps(_step(thresholds[graph.producer[split.input[0]].input[0]]))
    (concat,) = graph.consumers[partial.output[0]]
    rest = concat.input[1]
    if graph.producer[rest].op_type == "AveragePool":
        rest = graph.producer[rest].input[0]
    return Steps(_step(max(thresholds[quarter], thresholds[rest])), _step(thresholds[partial.output[0]]))


def _step(threshold: float) -> float:
    return max(threshold / LARGEST, SMALLEST_SCALE)

"""Quantizable units: groups of convs that share one precision, named by their path in the module tree."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from onnx import NodeProto

from .chains import chains
from .graph import Graph

OURS = "/stage2/exchanges."
"""Begins names of nodes of this network, and of no other."""
ATTENTION = "/attention/"
"""Marks nodes of EMA, which is never quantized: INT8 would destroy its softmax, norm and sigmoid
(docs/decisions/0006)."""
UNIT = re.compile(
    r"/(stem|head|transition\d|stage1/stage1\.\d+|stage\d/exchanges\.\d+/branches\.\d+|stage\d/exchanges\.\d+/paths)\b"
)


@dataclass(frozen=True)
class Unit:
    """A group of convs, or of matrix products, that become INT8 together."""

    name: str
    """Such as stage3.exchanges.0.branches.1."""
    convs: tuple[str, ...]
    """Node names."""
    macs: int
    """Multiply-adds of these convs for one crop."""


def quantizable_units(graph: Graph) -> tuple[Unit, ...]:
    """The units in graph order: the stem, a Bottleneck, a branch or the fusion paths of one exchange module, ...

    A graph without this network's node names is divided by its structure (`chains`); ValueError where nothing of it can
    be quantized.
    """
    members: dict[str, list[NodeProto]] = defaultdict(list)
    if any(node.name.startswith(OURS) for node in graph.nodes):
        for node in graph.nodes:
            if node.op_type == "Conv" and ATTENTION not in node.name:
                members[unit_of(node.name)].append(node)
        members.pop("", None)
    else:
        members |= {nodes[0].name.strip("/"): nodes for nodes in chains(graph)}
    if not members:
        raise ValueError(
            "the graph has no conv or matrix product with constant weights, so there is nothing to quantize"
        )
    return tuple(
        Unit(name, tuple(node.name for node in nodes), sum(map(graph.macs, nodes))) for name, nodes in members.items()
    )


def convs_of(units: Iterable[Unit]) -> set[str]:
    """Node names of all convs of `units`."""
    return {name for unit in units for name in unit.convs}


def unit_of(node: str) -> str:
    """Name of the unit that a node belongs to; empty if none."""
    found = UNIT.match(node)
    if found is None:
        return ""
    return found[1].replace("stage1/", "").replace("/", ".")


def total_macs(graph: Graph) -> int:
    """Multiply-adds of all convs and matrix products of a graph, including EMA's, for one crop."""
    return sum(map(graph.macs, graph.nodes))

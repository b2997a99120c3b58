"""Units of the network: the parts whose precision is chosen as one, named by their place in the module tree."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from onnx import NodeProto

from .graph import Graph

ATTENTION = "/attention/"
"""In a node's name: part of EMA, whose softmax, norm and sigmoid int8 would destroy (docs/decisions/0006)."""
UNIT = re.compile(
    r"/(stem|head|transition\d|stage1/stage1\.\d+|stage\d/exchanges\.\d+/branches\.\d+|stage\d/exchanges\.\d+/paths)\b"
)


@dataclass(frozen=True)
class Unit:
    """Convs that become INT8 together."""

    name: str
    """Such as stage3.exchanges.0.branches.1."""
    convs: tuple[str, ...]
    """Names of their nodes."""
    macs: int
    """Multiply-adds of these convs for one crop."""


def quantizable_units(graph: Graph) -> tuple[Unit, ...]:
    """The units in the order of the graph: a stem, a Bottleneck, a branch or an exchange of one module, ...

    ValueError where no node carries a name of this network: only graphs of `lehrnet export` can be divided.
    """
    members: dict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.nodes:
        if node.op_type == "Conv" and ATTENTION not in node.name:
            members[unit_of(node.name)].append(node)
    members.pop("", None)
    if not members:
        raise ValueError("no node is named as `lehrnet export` names them; quantize a graph that it wrote")
    return tuple(
        Unit(name, tuple(node.name for node in nodes), sum(map(graph.macs, nodes))) for name, nodes in members.items()
    )


def convs_of(units: Iterable[Unit]) -> set[str]:
    """The names of all convs of some units."""
    return {name for unit in units for name in unit.convs}


def unit_of(node: str) -> str:
    """The unit's name of a node's; empty where it is of none."""
    found = UNIT.match(node)
    if found is None:
        return ""
    return found[1].replace("stage1/", "").replace("/", ".")


def total_macs(graph: Graph) -> int:
    """Multiply-adds of all the graph's convs and matrix products, EMA's among them."""
    return sum(map(graph.macs, graph.nodes))

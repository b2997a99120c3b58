"""Where Q/DQ pairs stand: rules for this network, not for any graph.

An INT8 conv reads its input through a pair. What only moves values (a partial conv's split and concat, the average of
a strided one) stays in INT8 too, and all tensors that it moves share one scale, so that the three quarters which a
partial conv leaves untouched are never requantized.
"""

from collections.abc import Collection
from dataclasses import dataclass

from onnx import NodeProto

from .graph import Graph

MOVING = ("Split", "Concat", "AveragePool")


@dataclass(frozen=True)
class Placement:
    """Which tensors get a pair, and who reads it."""

    groups: tuple[tuple[str, ...], ...]
    """Tensors with a pair; those of one group share one scale."""
    readers: frozenset[str]
    """Nodes that read a tensor through its pair where it has one: the INT8 convs, and what moves values to them."""
    replaced: frozenset[str]
    """Tensors that everyone reads through the pair: what made them gives INT8 only."""


def place(graph: Graph, convs: Collection[str], *, outputs: bool = False) -> Placement:
    """Pairs for these convs to be INT8.

    `outputs` places pairs on what they put out too: ONNX Runtime's INT8 convs write INT8 and nothing else, TensorRT's
    write what the next layer reads.
    """
    chosen = [node for node in graph.nodes if node.name in convs]
    groups = _Groups()
    readers = {node.name for node in chosen}
    for conv in chosen:
        _follow(graph, conv.input[0], groups, readers)
    replaced = set()
    if outputs:
        replaced = {_activated(graph, conv) for conv in chosen} - set(graph.outputs)
        for tensor in replaced:
            groups.join(tensor, tensor)
    return Placement(groups.all(), frozenset(readers), frozenset(replaced))


def _follow(graph: Graph, tensor: str, groups: "_Groups", readers: set[str]) -> None:
    """Give a tensor a pair, and every tensor that its values were moved from."""
    groups.join(tensor, tensor)
    maker = graph.producer.get(tensor)
    if maker is None or maker.op_type not in MOVING or maker.name in readers:
        return
    readers.add(maker.name)
    for moved in (*_moved_inputs(maker), *maker.output):
        groups.join(tensor, moved)
    for moved in _moved_inputs(maker):
        _follow(graph, moved, groups, readers)


def _moved_inputs(node: NodeProto) -> list[str]:
    return list(node.input) if node.op_type == "Concat" else [node.input[0]]


def _activated(graph: Graph, conv: NodeProto) -> str:
    """What a conv puts out, after its ReLU where that is all that reads it."""
    output = conv.output[0]
    readers = graph.consumers[output]
    return readers[0].output[0] if len(readers) == 1 and readers[0].op_type == "Relu" else output


class _Groups:
    """Disjoint sets of tensors, in the order in which they were first named."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def join(self, one: str, other: str) -> None:
        first, second = self._root(one), self._root(other)
        self._parent[second] = first

    def all(self) -> tuple[tuple[str, ...], ...]:
        members: dict[str, list[str]] = {}
        for tensor in self._parent:
            members.setdefault(self._root(tensor), []).append(tensor)
        return tuple(map(tuple, members.values()))

    def _root(self, tensor: str) -> str:
        parent = self._parent.setdefault(tensor, tensor)
        while parent != self._parent[parent]:
            parent = self._parent[parent]
        return parent

"""Placement of Q/DQ pairs: rules for this network, not for any graph.

An INT8 conv reads its input through a pair. Operators that only move values (the Split and Concat of a partial conv,
the average pooling of a strided one) stay in INT8 too, and all their tensors share one scale, so that the three
quarters that a partial conv leaves untouched are never requantized.
"""

from collections.abc import Collection
from dataclasses import dataclass

from onnx import NodeProto

from .graph import Graph

MOVING = ("Split", "Concat", "AveragePool")


@dataclass(frozen=True)
class Placement:
    """Tensors that get a Q/DQ pair, and the nodes that read them through it."""

    groups: tuple[tuple[str, ...], ...]
    """Tensors with a pair; the tensors of a group share one scale."""
    readers: frozenset[str]
    """Nodes that read their inputs through the pairs: the INT8 convs, and the operators that move values to them."""
    replaced: frozenset[str]
    """Tensors that every node reads through the pair: their producer writes INT8 only."""


def place(graph: Graph, convs: Collection[str], *, outputs: bool = False) -> Placement:
    """Place the pairs that make the named convs INT8.

    `outputs` also places pairs on the convs' outputs: ONNX Runtime's INT8 convs can write only INT8, TensorRT's write
    the type that the next layer reads.
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
    """Place a pair on a tensor and, recursively, on all tensors that its values were moved from."""
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
    """A conv's output, or that of its ReLU if the ReLU is the only reader."""
    output = conv.output[0]
    readers = graph.consumers[output]
    return readers[0].output[0] if len(readers) == 1 and readers[0].op_type == "Relu" else output


class _Groups:
    """Disjoint sets (union-find) of tensors, in order of first mention."""

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

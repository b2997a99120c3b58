"""Units of a graph of another program, by its structure: what a fusing runtime would join runs in one precision.

Joined are a conv and the next one that alone reads it, through activations; the convs of a residual block's two ways;
and matrix products of one input, such as a transformer's queries, keys and values.
"""

from collections.abc import Collection
from itertools import chain

from onnx import NodeProto

from .graph import Graph

POINTWISE = ("Relu", "Clip", "LeakyRelu", "PRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Gelu", "Erf", "Tanh", "Elu")
"""Operators on single values, which runtimes compute with the conv before them."""
LONGEST = 4
"""Convs and matrix products in a chain: a Bottleneck with its shortcut."""
MOST_UNITS = 40
"""Each costs a run of the search; where there are more chains, neighbours become one unit."""


def quantizable(graph: Graph, node: NodeProto) -> bool:
    """Whether INT8 is defined for a node: a conv or a matrix product with constant weights.

    Convs of a single pixel are gates: INT8 saves nothing there, and rounds what weighs whole channels.
    """
    if len(node.input) < 2 or node.input[1] not in graph.constants or not graph.is_float(node.input[1]):
        return False
    sides = len(graph.shape(node.input[1]))
    if node.op_type == "Conv":
        return sides == 4 and graph.shape(node.output[0])[1:] != (1, 1)
    if node.op_type == "Gemm":
        attributes = {each.name: each for each in node.attribute}
        plain = all(attributes[name].f == 1 for name in ("alpha", "beta") if name in attributes)
        return plain and not ("transA" in attributes and attributes["transA"].i)
    return node.op_type == "MatMul" and sides == 2


def chains(graph: Graph) -> list[list[NodeProto]]:
    """The quantizable nodes in groups, at most MOST_UNITS of them, in the order of the graph."""
    nodes = [node for node in graph.nodes if quantizable(graph, node)]
    group = {node.name: [node] for node in nodes}
    for node in nodes:
        for other in _joined_with(graph, node, group.keys()):
            one, two = group[node.name], group[other.name]
            if one is not two and len(one) + len(two) <= LONGEST:
                one += two
                group |= {each.name: one for each in two}
    found: dict[int, list[NodeProto]] = {}
    for node in nodes:
        found.setdefault(id(group[node.name]), []).append(node)
    return _merged(list(found.values()))


def _joined_with(graph: Graph, node: NodeProto, names: Collection[str]) -> list[NodeProto]:
    """The nodes among `names` that a runtime would compute together with this one."""
    last = _activated(graph, node)
    found = [reader for reader in _only_reader(graph, last) if reader.name in names]
    for reader in _only_reader(graph, last):
        if reader.op_type == "Add":  # the other way of a residual block
            makers = [graph.producer.get(name) for name in reader.input if name != last]
            found += [maker for maker in makers if maker is not None and maker.name in names]
    if node.op_type == "MatMul":
        found += [each for each in graph.consumers[node.input[0]] if each.op_type == "MatMul" and each.name in names]
    return found


def _activated(graph: Graph, node: NodeProto) -> str:
    """The tensor behind a node and the pointwise operators that alone read it."""
    tensor = node.output[0]
    while readers := _only_reader(graph, tensor):
        constants = [name for name in readers[0].input if name in graph.constants]
        bias_or_scale = readers[0].op_type in ("Add", "Mul") and len(constants) == 1
        if readers[0].op_type not in POINTWISE and not bias_or_scale:
            break
        tensor = readers[0].output[0]
    return tensor


def _only_reader(graph: Graph, tensor: str) -> list[NodeProto]:
    readers = graph.consumers[tensor]
    return readers if len(readers) == 1 and tensor not in graph.outputs else []


def _merged(groups: list[list[NodeProto]]) -> list[list[NodeProto]]:
    """At most MOST_UNITS groups: as many neighbours in each as it takes."""
    size = -(-len(groups) // MOST_UNITS) or 1
    return [[*chain.from_iterable(groups[start : start + size])] for start in range(0, len(groups), size)]

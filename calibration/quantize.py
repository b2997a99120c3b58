"""Explicit INT8 quantization: Q/DQ pairs on activations, a DQ on each int8 weight."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from .graph import Graph
from .placement import Placement, place

LARGEST = 127  # symmetric int8 leaves -128 unused: TensorRT asks for it in weights
SMALLEST_SCALE = 2.0**-14  # FP16's smallest normal number: scales are FP16 in a typed graph


@dataclass(frozen=True)
class Scheme:
    """How activations are quantized to 8 bits."""

    unsigned: bool = False
    """True: uint8, with zero point 0 for tensors that are never negative, so that ONNX Runtime's CPU fuses a ReLU
    into its conv. False: symmetric int8, as TensorRT requires."""
    outputs: bool = False
    """Whether the outputs of INT8 convs get Q/DQ pairs too (`placement.place`)."""


TENSORRT = Scheme()
CPU = Scheme(unsigned=True, outputs=True)


def quantize(
    graph: Graph,
    convs: Collection[str],
    thresholds: Mapping[str, float],
    non_negative: Collection[str],
    scheme: Scheme = TENSORRT,
) -> ModelProto:
    """A copy of the graph with the convs named in `convs` in INT8; the other nodes are unchanged.

    `thresholds` holds the clipping value of each tensor of `placement.place`, `non_negative` the tensors that were
    never below 0. Weights are int8 per output channel; all scales are exact in FP16. `convs` may hold matrix products.
    """
    placement = place(graph, convs, outputs=scheme.outputs)
    writer = _Writer(graph, placement)
    for group in placement.groups:
        missing = [tensor for tensor in group if tensor not in thresholds]
        if missing:
            raise ValueError(f"the ranges have no tensor {missing[0]!r}: they were collected on another graph")
        amax = max(thresholds[tensor] for tensor in group)
        from_zero = scheme.unsigned and all(tensor in non_negative for tensor in group)
        writer.add_pairs(group, amax, from_zero=from_zero, unsigned=scheme.unsigned)
    for node in graph.nodes:
        if node.name in convs:
            writer.add_weight(node)
    return writer.model()


def input_scales(graph: Graph, convs: Collection[str], thresholds: Mapping[str, float]) -> dict[str, float]:
    """Scale of each conv's INT8 input, keyed by the conv's path in the module tree."""
    amax = {tensor: max(map(thresholds.__getitem__, group)) for group in place(graph, convs).groups for tensor in group}
    chosen = [node for node in graph.nodes if node.name in convs]
    return {
        node.input[1].removesuffix(".weight"): float(fp16_exact(np.array(amax[node.input[0]] / LARGEST)))
        for node in chosen
    }


def fp16_exact(scales: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scales rounded to FP16 values, so that a graph has the same scales in FP32 and in FP16."""
    return np.maximum(scales, SMALLEST_SCALE).astype(np.float16).astype(np.float32)


def output_axis(node: NodeProto) -> int:
    """The axis of a node's weights on which its output channels lie."""
    if node.op_type == "Gemm":
        return 0 if any(each.name == "transB" and each.i for each in node.attribute) else 1
    return 1 if node.op_type == "MatMul" else 0


def quantize_weight(weight: NDArray[Any], axis: int = 0) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantize weights, such as (O, I, h, w): int8 weights and the scale (O,) of each output channel on `axis`."""
    others = tuple(each for each in range(weight.ndim) if each != axis)
    scales = fp16_exact(np.abs(weight).max(others) / LARGEST)
    whole = np.rint(weight / np.expand_dims(scales, others)).clip(-LARGEST, LARGEST)
    return whole.astype(np.int8), scales


class _Writer:
    """Builds the quantized graph from the nodes of the original."""

    def __init__(self, graph: Graph, placement: Placement) -> None:
        self.graph, self.placement = graph, placement
        self.pairs: dict[str, list[NodeProto]] = {}
        self.weights: dict[str, NodeProto] = {}
        self.shared: dict[str, NodeProto] = {}
        self.constants: list[TensorProto] = []

    def add_pairs(self, group: tuple[str, ...], amax: float, *, from_zero: bool, unsigned: bool) -> None:
        """Add a Q/DQ pair for each tensor of a group; all share one scale and zero point."""
        scale = fp16_exact(np.array(amax / (255 if from_zero else LARGEST)))
        zero = np.array(0 if from_zero else 128, np.uint8) if unsigned else np.array(0, np.int8)
        parameters = [self._constant(f"{group[0]}/scale", scale), self._constant(f"{group[0]}/zero_point", zero)]
        for tensor in group:
            names = _quantized(tensor), _dequantized(tensor)
            self.pairs[tensor] = [
                helper.make_node("QuantizeLinear", [tensor, *parameters], [names[0]], name=f"{tensor}/QuantizeLinear"),
                helper.make_node("DequantizeLinear", [names[0], *parameters], [names[1]], name=names[1]),
            ]

    def add_weight(self, conv: NodeProto) -> None:
        """Store a conv's weight as int8 and add its DQ."""
        name, axis = conv.input[1], output_axis(conv)
        if name in self.shared:  # two convs of one weight
            self.weights[conv.name] = self.shared[name]
            return
        whole, scales = quantize_weight(self.graph.constant(name), axis)
        parameters = [
            self._constant(f"{name}/int8", whole),
            self._constant(f"{name}/scale", scales),
            self._constant(f"{name}/zero_point", np.zeros(len(scales), np.int8)),
        ]
        self.weights[conv.name] = self.shared[name] = helper.make_node(
            "DequantizeLinear", parameters, [_dequantized(name)], name=_dequantized(name), axis=axis
        )

    def model(self) -> ModelProto:
        """The quantized graph, its nodes in the original order."""
        nodes = [pair for tensor in self.graph.inputs for pair in self.pairs.get(tensor, [])]
        written: set[str] = set()
        for node in self.graph.nodes:
            if node.name in self.weights and self.weights[node.name].name not in written:
                nodes.append(self.weights[node.name])
                written.add(nodes[-1].name)
            nodes.append(self._rewired(node))
            nodes += [pair for tensor in node.output for pair in self.pairs.get(tensor, [])]
        model = ModelProto()
        model.CopyFrom(self.graph.model)
        del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
        model.graph.node.extend(nodes)
        used = {name for node in nodes for name in node.input}
        kept = [*self.graph.model.graph.initializer, *self.constants]
        model.graph.initializer.extend(tensor for tensor in kept if tensor.name in used)
        return model

    def _rewired(self, node: NodeProto) -> NodeProto:
        """A copy of a node that reads the dequantized tensors where the placement asks for it."""
        copy = NodeProto()
        copy.CopyFrom(node)
        for index, tensor in enumerate(node.input):
            if tensor in self.pairs and (node.name in self.placement.readers or tensor in self.placement.replaced):
                copy.input[index] = _dequantized(tensor)
        if node.name in self.weights:
            copy.input[1] = self.weights[node.name].output[0]
        return copy

    def _constant(self, name: str, values: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(values, name))
        return name


def _quantized(tensor: str) -> str:
    return f"{tensor}/quantized"


def _dequantized(tensor: str) -> str:
    return f"{tensor}/DequantizeLinear"

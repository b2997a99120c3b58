"""TensorRT's rules for explicit INT8 quantization, checked on a graph without TensorRT."""

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def broken_rules(model: ModelProto) -> list[str]:
    """Violations that TensorRT 10 and 11 would refuse or not run in INT8, one sentence each; empty if there are none.

    The rules: symmetric int8 (zero point 0); activations scaled per tensor, conv weights per output channel (axis 0);
    a Q is read only by DQs of the same scale; an INT8 conv reads both its input and its weight through a DQ.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    maker = {name: node for node in model.graph.node for name in node.output}
    broken = []
    for node in model.graph.node:
        if node.op_type in {QUANTIZE, DEQUANTIZE}:
            broken += _broken_by_pair(node, constants, maker)
        elif node.op_type == "Conv":
            broken += _broken_by_conv(node, constants, maker)
        broken += [
            f"{node.name} reads {name} in INT8 without a DQ"
            for name in node.input
            if node.op_type != DEQUANTIZE and name in maker and maker[name].op_type == QUANTIZE
        ]
    return broken


def _broken_by_pair(node: NodeProto, constants: dict[str, TensorProto], maker: dict[str, NodeProto]) -> list[str]:
    scale, zero = (numpy_helper.to_array(constants[name]) for name in node.input[1:3])
    broken = []
    if zero.dtype != np.int8 or zero.any():
        broken.append(f"{node.name} is not symmetric: its zero point is {zero.dtype} {zero.ravel()[:1].tolist()}")
    if not (scale > 0).all():
        broken.append(f"{node.name} has a scale that is not positive")
    source = maker.get(node.input[0])
    if node.op_type == DEQUANTIZE and node.input[0] not in constants:
        if source is None or source.op_type != QUANTIZE or list(source.input[1:3]) != list(node.input[1:3]):
            broken.append(f"{node.name} is not fed by a Q of the same scale")
        elif scale.ndim:
            broken.append(f"{node.name} has a per-channel scale on an activation")
    return broken


def _broken_by_conv(node: NodeProto, constants: dict[str, TensorProto], maker: dict[str, NodeProto]) -> list[str]:
    sources = [maker.get(name) for name in node.input[:2]]
    dequantized = [source is not None and source.op_type == DEQUANTIZE for source in sources]
    if not any(dequantized):
        return []
    if not all(dequantized):
        return [f"{node.name} reads only its {'input' if dequantized[0] else 'weight'} through a DQ"]
    weight = sources[1]
    assert weight is not None
    axis = next((attribute.i for attribute in weight.attribute if attribute.name == "axis"), 1)
    channels = constants[weight.input[0]].dims[0]
    if axis != 0 or list(constants[weight.input[1]].dims) != [channels]:
        return [f"{node.name}: its weight is not scaled per output channel (axis 0)"]
    return []

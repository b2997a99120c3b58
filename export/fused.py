"""Graphs with the custom operator `lehrnet.EMA`: each EMA with its shortcut and ReLU becomes one node.

TensorRT finds the operator in a plugin (`trt_plugin`); a runtime without it refuses the graph.
"""

import re

import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper
from torch import nn

from ..calibration.graph import Graph
from ..model.forms.attention import FrozenEMA, group_weights

DOMAIN = "lehrnet"
VERSION = 1
ATTENTION = re.compile(r"(.*/attention)/")


def fuse_attention(model: ModelProto, deployed: nn.Module) -> ModelProto:
    """A copy of a deployed network's graph with every EMA as one node; ValueError if Add and ReLU do not follow it."""
    graph = Graph(onnx.shape_inference.infer_shapes(model))
    modules = {_path(name): module for name, module in deployed.named_modules() if isinstance(module, FrozenEMA)}
    parts: dict[str, list[NodeProto]] = {}
    for node in graph.nodes:
        found = ATTENTION.match(node.name)
        if found is not None:
            parts.setdefault(found[1], []).append(node)
    fused = ModelProto()
    fused.CopyFrom(model)
    gone: set[str] = set()
    made: dict[str, NodeProto] = {}
    for path, nodes in parts.items():
        node, replaced, weights = _fused(graph, path, nodes, modules[_path(path)])
        fused.graph.initializer.extend(weights)
        gone.update(each.name for each in replaced)
        made[replaced[-1].name] = node
    kept = [made.get(node.name, node) for node in model.graph.node if node.name not in gone or node.name in made]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in kept]
    del fused.graph.node[:]
    fused.graph.node.extend(copies)
    read = {name for node in copies for name in node.input}
    used = [tensor for tensor in fused.graph.initializer if tensor.name in read]  # without the replaced nodes' own
    del fused.graph.initializer[:]
    fused.graph.initializer.extend(used)
    written = {name for node in copies for name in node.output}
    shapes = [value for value in graph.model.graph.value_info if value.name in written]
    del fused.graph.value_info[:]  # shape inference stops at a custom operator, so known shapes are kept
    fused.graph.value_info.extend(shapes)
    fused.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
    return fused


def _fused(
    graph: Graph, path: str, nodes: list[NodeProto], module: FrozenEMA
) -> tuple[NodeProto, list[NodeProto], list[onnx.TensorProto]]:
    """The operator's node, the nodes that it replaces (those of EMA, the Add and the ReLU), and its weights."""
    own = {node.name for node in nodes}
    written = {name for node in nodes for name in node.output}
    read = {name for node in nodes for name in node.input if name not in written and name not in graph.constants}
    (source,) = {name for name in read if name}
    (result,) = (name for name in written if any(reader.name not in own for reader in graph.consumers[name]))
    (total,) = graph.consumers[result]
    (relu,) = graph.consumers[total.output[0]]
    if total.op_type != "Add" or relu.op_type != "Relu":
        raise ValueError(f"{path} is followed by {total.op_type} and {relu.op_type}, expected Add and Relu")
    (shortcut,) = (name for name in total.input if name != result)
    weights = group_weights(module).items()
    tensors = [numpy_helper.from_array(tensor.numpy(), f"{path}/{name}") for name, tensor in weights]
    node = helper.make_node(
        "EMA",
        [source, shortcut, *(tensor.name for tensor in tensors)],
        [relu.output[0]],
        name=f"{path}/EMA",
        domain=DOMAIN,
        groups=module.groups,
        epsilon=module.eps,
        plugin_namespace=DOMAIN,  # TensorRT's parser looks the plugin up by it
    )
    return node, [*nodes, total, relu], tensors


def _path(name: str) -> str:
    """A module's path from a node's path, where a Sequential's child repeats its parent's name ("/stage1/stage1.0")."""
    parts = name.strip("/").split("/")
    return ".".join(
        part for part, after in zip(parts, [*parts[1:], ""], strict=True) if not after.startswith(f"{part}.")
    )

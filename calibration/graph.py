"""An ONNX graph with lookups: producer, consumers, shape and type of each tensor."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

Shape = tuple[int, ...]
"""Without the batch axis."""


class Graph:
    """Lookups on a model that `export` or `import` wrote. `model` is a copy whose constants are all initializers."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model = _with_initializers(model)
        self.nodes: list[NodeProto] = list(model.graph.node)
        self.constants: dict[str, TensorProto] = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producer: dict[str, NodeProto] = {name: node for node in self.nodes for name in node.output}
        self.consumers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.consumers[name].append(node)
        self._types = {
            value.name: value.type.tensor_type
            for value in (*model.graph.input, *model.graph.value_info, *model.graph.output)
        }

    @property
    def batch(self) -> int | None:
        """The batch that the graph is fixed to; None: any."""
        return self._types[self.inputs[0]].shape.dim[0].dim_value or None

    def fitted(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        """Crops (n, 3, H, W), of a graph with a fixed batch as many as it takes: the last one again and again."""
        if self.batch is None or len(crops) == self.batch:
            return crops
        return crops[np.minimum(np.arange(self.batch), len(crops) - 1)]

    @property
    def inputs(self) -> list[str]:
        return [value.name for value in self.model.graph.input]

    @property
    def outputs(self) -> list[str]:
        return [value.name for value in self.model.graph.output]

    def shape(self, tensor: str) -> Shape:
        """Shape of a tensor without its batch axis; the full shape of a constant."""
        if tensor in self.constants:
            return tuple(self.constants[tensor].dims)
        return tuple(side.dim_value for side in self._types[tensor].shape.dim[1:])

    def is_float(self, tensor: str) -> bool:
        """Whether a tensor holds float32, the type in which `export` writes a graph."""
        if tensor in self.constants:
            return self.constants[tensor].data_type == TensorProto.FLOAT
        return tensor in self._types and self._types[tensor].elem_type == TensorProto.FLOAT

    def constant(self, tensor: str) -> NDArray[np.generic]:
        """The values of an initializer."""
        return numpy_helper.to_array(self.constants[tensor])

    def macs(self, node: NodeProto) -> int:
        """Multiply-adds of a conv or a matrix product for one crop; 0 for anything else."""
        if node.op_type == "Conv":
            return int(np.prod(self.shape(node.input[1]))) * int(np.prod(self.shape(node.output[0])[1:]))
        if node.op_type == "ConvTranspose":
            return int(np.prod(self.shape(node.input[1]))) * int(np.prod(self.shape(node.input[0])[1:]))
        if node.op_type == "Gemm":
            return int(np.prod(self.shape(node.input[1])))
        if node.op_type == "MatMul":
            rows = self.shape(node.input[0])
            return int(np.prod(self.shape(node.output[0]))) * rows[-1]
        return 0


def read_graph(path: Path) -> Graph:
    """Read an ONNX file and infer its shapes; ValueError if it is not an ONNX model."""
    try:
        model = onnx.load(str(path))
    except Exception as error:
        raise ValueError(f"{path} is not an ONNX model: {error}") from error
    return Graph(onnx.shape_inference.infer_shapes(model))


def _with_initializers(model: ModelProto) -> ModelProto:
    """A copy with an initializer in place of each Constant node."""
    copy = ModelProto()
    copy.CopyFrom(model)
    nodes = [node for node in copy.graph.node if node.op_type != "Constant"]
    for node in copy.graph.node:
        if node.op_type == "Constant":
            value = copy.graph.initializer.add()
            value.CopyFrom(node.attribute[0].t)
            value.name = node.output[0]
    kept = ModelProto()
    kept.CopyFrom(copy)
    del kept.graph.node[:]
    kept.graph.node.extend(nodes)
    return kept

"""One typed graph: FP16 or BF16 stand in the graph as casts, with FP32 islands where the data asks for them.

TensorRT 11 has no precision flags: what a graph does not say, an engine does not do.
"""

from collections.abc import Collection, Mapping
from typing import Literal, get_args

import ml_dtypes
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ..runtime.bundle import INPUT_NAME
from .graph import Graph

FloatType = Literal["fp32", "fp16", "bf16"]
FLOAT_TYPES: tuple[FloatType, ...] = get_args(FloatType)
FP16_LARGEST = 65504.0
MARGIN = 4.0  # how much larger than on the calibration people a value may become
_ONNX: dict[FloatType, int] = {
    "fp32": TensorProto.FLOAT,
    "fp16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
}
_NUMPY = {"fp32": np.float32, "fp16": np.float16, "bf16": ml_dtypes.bfloat16}
OVERFLOWING = ("Conv", "MatMul", "Add", "Mul", "InstanceNormalization", "ReduceMean", "Softmax")
_FOLLOWING = {"Resize": 1, "EMA": 2}
"""How many inputs of an operator have its type; its other float inputs are FP32 whatever that is."""


def typed(graph: Graph, float_type: FloatType, islands: Collection[str] = ()) -> ModelProto:
    """The FP32 graph in `float_type`, but for the nodes named in `islands`; the inputs and outputs stay FP32.

    One Cast where a tensor is read in another type than it is made in; constants are stored as they are read.
    """
    if float_type not in FLOAT_TYPES:
        raise ValueError(f"precision is {float_type!r}, expected one of {', '.join(FLOAT_TYPES)}")
    unknown = set(islands) - {node.name for node in graph.nodes}
    if unknown:
        raise ValueError(f"no node of the graph is named {min(unknown)!r}")
    return _Caster(graph, float_type, set(islands)).model()


def fp32_islands(graph: Graph, amax: Mapping[str, float]) -> set[str]:
    """Nodes that FP16 may overflow, by the largest |x| of each tensor on calibration people.

    A node is one where what it reads or writes comes within a factor of 4 of FP16's largest number, or where a sum
    inside it may: a norm's of squares, a mean's of values.
    """
    limit = FP16_LARGEST / MARGIN
    return {node.name for node in graph.nodes if _reach(graph, node, amax) > limit}


def careful_islands(graph: Graph) -> set[str]:
    """Nodes whose sums FP16 may overflow, where there is no data that tells: norms, means and softmaxes."""
    return {node.name for node in graph.nodes if node.op_type in {"InstanceNormalization", "ReduceMean", "Softmax"}}


def check_overflow(model: ModelProto, crops: NDArray[np.float32]) -> None:
    """Run crops (N, 3, H, W) through a graph; ValueError names the first node that makes NaN or infinity."""
    watched = ModelProto()
    watched.CopyFrom(model)
    names = [name for node in model.graph.node if node.op_type in OVERFLOWING for name in node.output]
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for name, values in zip(names, session.run(names, {INPUT_NAME: crops[:1]}), strict=True):
        if not np.isfinite(np.asarray(values).astype(np.float32)).all():
            raise ValueError(f"{name} is NaN or infinite in this precision; its node must stay in FP32")


def _reach(graph: Graph, node: NodeProto, amax: Mapping[str, float]) -> float:
    """The largest value that this node may hold, inside or out."""
    values = [amax.get(name, 0.0) for name in (*node.input, *node.output)]
    peak = amax.get(node.input[0], 0.0) if node.input else 0.0
    if node.op_type == "InstanceNormalization":
        values.append(peak**2 * float(np.prod(graph.shape(node.input[0])[1:])))
    if node.op_type == "ReduceMean":
        values.append(peak * np.prod(graph.shape(node.input[0])) / np.prod(graph.shape(node.output[0])))
    return max(values, default=0.0)


class _Caster:
    def __init__(self, graph: Graph, float_type: FloatType, islands: set[str]) -> None:
        self.graph, self.islands = graph, islands
        self.float_type: FloatType = float_type
        self.floats = _float_tensors(graph)
        self.made: dict[str, FloatType] = dict.fromkeys(graph.inputs, "fp32")
        self.nodes: list[NodeProto] = []
        self.casts: set[str] = set()
        self.constants: dict[str, TensorProto] = {}

    def model(self) -> ModelProto:
        for node in self.graph.nodes:
            self._add(node)
        outputs = [name for name in self.graph.outputs if self.made.get(name, "fp32") != "fp32"]
        for name in outputs:
            self._give_fp32(name)
        model = ModelProto()
        model.CopyFrom(self.graph.model)
        del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
        model.graph.node.extend(self.nodes)
        model.graph.initializer.extend(self.constants.values())
        return model

    def _add(self, node: NodeProto) -> None:
        own: FloatType = "fp32" if node.name in self.islands else self.float_type
        copy = NodeProto()
        copy.CopyFrom(node)
        for index, name in enumerate(node.input):
            fixed = index >= _FOLLOWING.get(node.op_type, len(node.input))
            copy.input[index] = self._read(name, "fp32" if fixed else own) if name in self.floats else self._plain(name)
        self.nodes.append(copy)
        self.made.update({name: own for name in node.output if name in self.floats})

    def _plain(self, name: str) -> str:
        """A tensor that is no float: as it is."""
        if name in self.graph.constants:
            self.constants[name] = self.graph.constants[name]
        return name

    def _read(self, name: str, wanted: FloatType) -> str:
        """A name under which a float tensor can be read in the type wanted."""
        if name in self.graph.constants:
            return self._constant(name, wanted)
        if self.made[name] == wanted:
            return name
        cast = f"{name}/{wanted}"
        if cast not in self.casts:
            self.casts.add(cast)
            self.nodes.append(helper.make_node("Cast", [name], [cast], name=f"{cast}/Cast", to=_ONNX[wanted]))
        return cast

    def _constant(self, name: str, wanted: FloatType) -> str:
        stored = name if wanted == self.float_type else f"{name}/{wanted}"
        if stored not in self.constants:
            values = numpy_helper.to_array(self.graph.constants[name])
            self.constants[stored] = numpy_helper.from_array(_narrow(name, values, wanted), stored)
        return stored

    def _give_fp32(self, output: str) -> None:
        """The graph's output under its own name, cast from what makes it."""
        inside = f"{output}/{self.made[output]}"
        for node in self.nodes:
            for names in (node.input, node.output):
                for index, name in enumerate(names):
                    if name == output:
                        names[index] = inside
        self.nodes.append(helper.make_node("Cast", [inside], [output], name=f"{output}/Cast", to=TensorProto.FLOAT))


def _narrow(name: str, values: np.ndarray, wanted: FloatType) -> np.ndarray:
    """Constants in another float type; ValueError where one of them becomes infinite."""
    with np.errstate(over="ignore"):
        narrowed = values.astype(_NUMPY[wanted])
    if not np.isfinite(narrowed.astype(np.float32)).all():
        raise ValueError(f"{name} holds {np.abs(values).max():.3g}, more than {wanted} can; keep its node in FP32")
    return narrowed


def _float_tensors(graph: Graph) -> set[str]:
    """Names of all tensors and constants that hold FP32, those of Q/DQ pairs (which have no shapes yet) included."""
    floats = {name for name in graph.constants if graph.is_float(name)}
    names = {name for node in graph.nodes for name in (*node.input, *node.output)} - set(graph.constants)
    quantized = {node.output[0] for node in graph.nodes if node.op_type == "QuantizeLinear"}
    return floats | {name for name in names if name not in quantized and name and _not_whole(graph, name)}


def _not_whole(graph: Graph, name: str) -> bool:
    maker = graph.producer.get(name)
    return graph.is_float(name) or (maker is not None and maker.op_type == "DequantizeLinear")

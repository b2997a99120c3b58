"""Strongly typed graphs: FP16 or BF16 by explicit casts, with FP32 islands where FP16 could overflow.

TensorRT 11 has no precision flags: an engine computes in the types that stand in the graph.
"""

from collections.abc import Collection, Mapping
from typing import Literal, get_args

import ml_dtypes
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from .graph import Graph

FloatType = Literal["fp32", "fp16", "bf16"]
FLOAT_TYPES: tuple[FloatType, ...] = get_args(FloatType)
FP16_LARGEST = 65504.0
MARGIN = 4.0  # factor by which a value may exceed its maximum on the calibration people
_ONNX: dict[FloatType, int] = {
    "fp32": TensorProto.FLOAT,
    "fp16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
}
_NUMPY = {"fp32": np.float32, "fp16": np.float16, "bf16": ml_dtypes.bfloat16}
OVERFLOWING = ("Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Mul", "Pow", "ReduceMean", "Softmax")
OVERFLOWING += ("InstanceNormalization", "LayerNormalization")
OF_ONE_TYPE = ("Cast", "ConstantOfShape", "Range", "EyeLike")
"""Operators whose output type does not follow their inputs': they stay as they are."""
_TYPED_INPUTS = {"Resize": 1, "EMA": 2}
"""Number of inputs that have the operator's own type; its other float inputs are always FP32."""


def typed(graph: Graph, float_type: FloatType, islands: Collection[str] = ()) -> ModelProto:
    """Convert an FP32 graph to `float_type`, except for the nodes named in `islands`; inputs and outputs stay FP32.

    A Cast is inserted where a tensor is read in another type than it was made in; constants are stored converted.
    """
    if float_type not in FLOAT_TYPES:
        raise ValueError(f"precision is {float_type!r}, expected one of {', '.join(FLOAT_TYPES)}")
    unknown = set(islands) - {node.name for node in graph.nodes}
    if unknown:
        raise ValueError(f"no node of the graph is named {min(unknown)!r}")
    return _Caster(graph, float_type, set(islands)).model()


def fp32_islands(graph: Graph, amax: Mapping[str, float]) -> set[str]:
    """Names of nodes that could overflow in FP16, given the largest |x| of each tensor on the calibration people.

    A node qualifies if one of its inputs or outputs comes within a factor of MARGIN of FP16's maximum, or if an
    internal sum could: the sum of squares of a norm, the sum of a mean.
    """
    limit = FP16_LARGEST / MARGIN
    return {node.name for node in graph.nodes if _reach(graph, node, amax) > limit}


def careful_islands(graph: Graph) -> set[str]:
    """FP32 islands without calibration data: all norms, means and softmaxes, whose sums could overflow in FP16."""
    return {
        node.name
        for node in graph.nodes
        if node.op_type in {"InstanceNormalization", "LayerNormalization", "ReduceMean", "Softmax"}
    }


def check_overflow(model: ModelProto, crops: NDArray[np.float32]) -> None:
    """Run the first crop of (N, 3, H, W) through a graph; ValueError names the first tensor with NaN or infinity."""
    watched = ModelProto()
    watched.CopyFrom(model)
    names = [name for node in model.graph.node if node.op_type in OVERFLOWING for name in node.output]
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = {model.graph.input[0].name: Graph(model).fitted(crops[:1])}
    for name, values in zip(names, session.run(names, given), strict=True):
        if not np.isfinite(np.asarray(values).astype(np.float32)).all():
            raise ValueError(f"{name} is NaN or infinite in this precision; its node must stay in FP32")


def _reach(graph: Graph, node: NodeProto, amax: Mapping[str, float]) -> float:
    """Largest value that a node may take: among its inputs, its outputs and its internal sums."""
    values = [amax.get(name, 0.0) for name in (*node.input, *node.output)]
    peak = amax.get(node.input[0], 0.0) if node.input else 0.0
    if node.op_type == "InstanceNormalization":
        values.append(peak**2 * float(np.prod(graph.shape(node.input[0])[1:])))
    if node.op_type == "LayerNormalization":
        values.append(peak**2)  # a mean of squares
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
        own: FloatType = "fp32" if node.name in self.islands or node.op_type in OF_ONE_TYPE else self.float_type
        copy = NodeProto()
        copy.CopyFrom(node)
        for index, name in enumerate(node.input):
            fixed = index >= _TYPED_INPUTS.get(node.op_type, len(node.input))
            copy.input[index] = self._read(name, "fp32" if fixed else own) if name in self.floats else self._plain(name)
        self.nodes.append(copy)
        self.made.update({name: own for name in node.output if name in self.floats})

    def _plain(self, name: str) -> str:
        """The name of a non-float tensor, unchanged; if it is a constant, keep it."""
        if name in self.graph.constants:
            self.constants[name] = self.graph.constants[name]
        return name

    def _read(self, name: str, wanted: FloatType) -> str:
        """Name of a float tensor in type `wanted`; adds a Cast if necessary."""
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
        """Cast a graph output back to FP32 under its original name."""
        inside = f"{output}/{self.made[output]}"
        for node in self.nodes:
            for names in (node.input, node.output):
                for index, name in enumerate(names):
                    if name == output:
                        names[index] = inside
        self.nodes.append(helper.make_node("Cast", [inside], [output], name=f"{output}/Cast", to=TensorProto.FLOAT))


def _narrow(name: str, values: np.ndarray, wanted: FloatType) -> np.ndarray:
    """Convert constants to another float type; ValueError if one becomes infinite."""
    with np.errstate(over="ignore"):
        narrowed = values.astype(_NUMPY[wanted])
    if not np.isfinite(narrowed.astype(np.float32)).all():
        raise ValueError(f"{name} holds {np.abs(values).max():.3g}, more than {wanted} can; keep its node in FP32")
    return narrowed


def _float_tensors(graph: Graph) -> set[str]:
    """Names of all FP32 tensors and constants, including the outputs of DQs, whose types are not inferred yet."""
    floats = {name for name in graph.constants if graph.is_float(name)}
    names = {name for node in graph.nodes for name in (*node.input, *node.output)} - set(graph.constants)
    quantized = {node.output[0] for node in graph.nodes if node.op_type == "QuantizeLinear"}
    return floats | {name for name in names if name not in quantized and name and _is_float_tensor(graph, name)}


def _is_float_tensor(graph: Graph, name: str) -> bool:
    maker = graph.producer.get(name)
    return graph.is_float(name) or (maker is not None and maker.op_type == "DequantizeLinear")

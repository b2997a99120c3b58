"""ONNX files of other programs: what can be taken, and made simple, with a free batch and with RGB crops.

Nothing of a file is run before its parts are known to be plain ONNX: one file, one input of crops, one output with a
heatmap for each joint, operators of ONNX alone.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
import onnxsim
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper, version_converter

from ..parsing import printable
from ..pose.spec import LARGEST_STRIDE
from ..runtime.backends.onnx_files import reads_other_files
from ..runtime.backends.onnxruntime import ORT_ERRORS, stride_of
from .graph import OPSET

log = logging.getLogger(__name__)

Colour = Literal["rgb", "bgr"]
LARGEST_FILE = 2 << 30  # bytes: protobuf's own limit
OWN_DOMAINS = ("", "ai.onnx")
CHECKPOINTS = (".pth", ".pt", ".safetensors")
CONTROL_FLOW = ("If", "Loop", "Scan", "SequenceMap")
SAME = 1e-4
"""Share of the heatmaps' range by which a changed graph may differ from the file's."""
PROBES = (1, 2, 3)
"""Batches that a graph with a free batch must run."""


@dataclass(frozen=True)
class ForeignGraph:
    """A network of another program, ready to be an FP32 artefact."""

    model: ModelProto
    size: tuple[int, int]
    """Height and width of a crop in px."""
    joints: int
    stride: int
    names: tuple[str, str]
    """Of its input and its output."""
    batch: int | None
    """The batch that it is fixed to; None: any."""


def read_foreign(
    path: Path, size: tuple[int, int] | None = None, colour: Colour = "rgb", output: str | None = None
) -> ForeignGraph:
    """Read an ONNX file from crops to heatmaps; ValueError names what keeps it from being a bundle.

    `size` (height, width) is for files that leave it open, `colour` the order of their input's channels, `output` the
    one to take of several. The graph that is returned takes RGB, and was compared with the file's on noise.
    """
    model = _checked(path, output)
    name, batch = _fix_input(path, model, size)
    original = ModelProto.FromString(model.SerializeToString())
    height, width = (side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim[2:])
    crops = np.random.default_rng(0).standard_normal((max(PROBES), 3, height, width), dtype=np.float32)
    expected = _heatmaps(path, original, crops, batch or 1)
    joints, stride = _meaning(path, model.graph.output[0].name, expected, (height, width))
    model, batch = _simplified(path, model, crops, expected, batch)
    _name_nodes(model)
    if colour == "bgr":
        _take_rgb(model)
    return ForeignGraph(model, (height, width), joints, stride, (name, model.graph.output[0].name), batch)


def _checked(path: Path, output: str | None) -> ModelProto:
    """The model, of one file and of ONNX's own operators, with one input and one output."""
    if not path.exists():
        raise FileNotFoundError(f"no model at {path}")
    if not path.is_file() or path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path} is no ONNX file of at most {LARGEST_FILE} bytes")
    content = path.read_bytes()
    try:
        outside = reads_other_files(content)
        model = onnx.load_model_from_string(content)
        if not outside:
            onnx.checker.check_model(model)
    except Exception as error:  # protobuf's, the checker's: all say that it is not a whole model
        hint = "; checkpoints are for `lehrnet export`" if path.suffix.lower() in CHECKPOINTS else ""
        raise ValueError(
            f"{path} is not a whole ONNX model: {printable(str(error)).splitlines()[0][:200]}{hint}"
        ) from error
    if outside:
        raise ValueError(f"{path} keeps tensors in other files (external data); save it as one file")
    foreign = [node for node in model.graph.node if node.domain not in OWN_DOMAINS] or list(model.functions)
    if foreign:
        kind = f"{foreign[0].domain}.{getattr(foreign[0], 'op_type', foreign[0].name)}"
        raise ValueError(f"{path} has the custom operator {printable(kind)}; export it with ONNX's own operators")
    control = next((node.op_type for node in model.graph.node if node.op_type in CONTROL_FLOW), None)
    if control:
        raise ValueError(f"{path} has control flow ({control}), which no runtime here takes apart; export it traced")
    _choose_output(path, model, output)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise ValueError(f"{path} has inputs {[value.name for value in inputs]}, expected one, of crops")
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model


def _choose_output(path: Path, model: ModelProto, output: str | None) -> None:
    outputs = list(model.graph.output)
    names = [value.name for value in outputs]
    if output is not None:
        outputs = [value for value in outputs if value.name == output]
        if not outputs:
            raise ValueError(f"{path} has no output {output!r}; it has {', '.join(names)}")
    ranks = [len(value.type.tensor_type.shape.dim) for value in outputs]
    if ranks == [3, 3]:
        raise ValueError(
            f"{path} gives two vectors a joint ({names[0]}, {names[1]}), as SimCC (RTMPose) does, and no heatmaps"
        )
    if len(outputs) != 1:
        raise ValueError(f"{path} has outputs {', '.join(names)}; name the one with the heatmaps by --output")
    del model.graph.output[:]
    model.graph.output.extend(outputs)


def _fix_input(path: Path, model: ModelProto, size: tuple[int, int] | None) -> tuple[str, int | None]:
    """Write `size` into an input that leaves it open; the input's name and the batch that it is fixed to."""
    value = model.graph.input[0]
    kind = value.type.tensor_type
    dims = list(kind.shape.dim)
    shown = " x ".join(str(dim.dim_value or dim.dim_param or "?") for dim in dims) or "no tensor"
    if kind.elem_type != TensorProto.FLOAT or len(dims) != 4 or dims[1].dim_value not in (0, 3):
        what = TensorProto.DataType.Name(kind.elem_type)
        raise ValueError(f"{path}: its input {value.name} is {what} of {shown}, expected FLOAT of N x 3 x H x W")
    for dim, side in zip(dims[2:], size or (0, 0), strict=True):
        if dim.dim_value and side and dim.dim_value != side:
            raise ValueError(f"{path} takes crops of {shown}, but --size says {size[0]}x{size[1]}" if size else shown)
        dim.dim_value = dim.dim_value or side
    height, width = (dim.dim_value for dim in dims[2:])
    if not height or not width:
        raise ValueError(f"{path} leaves the size of crops open ({shown}): say it with --size HxW")
    if height % 32 or width % 32:
        raise ValueError(f"{path} takes crops of {height}x{width} px, expected multiples of 32")
    dims[1].dim_value = 3
    return value.name, dims[0].dim_value or None


def _meaning(path: Path, name: str, heatmaps: NDArray[np.float32], size: tuple[int, int]) -> tuple[int, int]:
    """Joints and stride of the output; ValueError where it is not one finite heatmap for each joint."""
    shown = " x ".join(map(str, ("N", *heatmaps.shape[1:])))
    if heatmaps.ndim != 4:
        raise ValueError(f"{path}: its output {name} is {shown}, expected heatmaps: N x joints x h x w")
    stride = stride_of(size, heatmaps.shape[2:])
    if stride is None or not heatmaps.shape[1]:
        raise ValueError(
            f"{path}: its output {name} is {shown} for crops of {size[0]}x{size[1]} px, expected a cell for each "
            f"4x4 px, or another whole stride up to {LARGEST_STRIDE}"
        )
    if not np.isfinite(heatmaps).all():
        raise ValueError(f"{path}: its heatmaps hold NaN or infinity on noise; its weights are damaged")
    return heatmaps.shape[1], stride


def _simplified(
    path: Path, model: ModelProto, crops: NDArray[np.float32], expected: NDArray[np.float32], batch: int | None
) -> tuple[ModelProto, int | None]:
    """The graph by onnxsim, of at least OPSET, and with a free batch where one gives the same heatmaps."""
    size = crops.shape[2:]
    freed = _free_batch(model)
    for candidate, fixed in ((freed, None), (model, batch or 1)):
        for converted in (True, False):
            try:
                found = _converted(candidate) if converted else candidate
                found, _ = onnxsim.simplify(found, overwrite_input_shapes=_shape(found, fixed, size))
                probes = PROBES if fixed is None else (fixed,)
                same = all(_close(_heatmaps(path, found, crops, probe), expected) for probe in probes)
                found = _with_shapes(path, found, crops, fixed) if same else found
            except Exception as error:  # of onnxsim and of the converter: then this form is not taken
                log.info("%s: %s", path, printable(str(error))[:200])
                continue
            if same:
                if fixed is not None:
                    log.warning("%s keeps its batch of %d: with another one it computes something else", path, fixed)
                return found, fixed
    raise ValueError(f"{path} cannot be simplified without changing what it computes; export it anew, in FP32")


def _shape(model: ModelProto, fixed: int | None, size: tuple[int, ...]) -> dict[str, list[int]] | None:
    return None if fixed is None else {model.graph.input[0].name: [fixed, 3, *size]}


def _converted(model: ModelProto) -> ModelProto:
    """The model in OPSET at least: FP16 Q/DQ needs it."""
    own = next((each.version for each in model.opset_import if each.domain in OWN_DOMAINS), 0)
    return model if own >= OPSET else version_converter.convert_version(model, OPSET)


def _free_batch(model: ModelProto) -> ModelProto:
    """A copy whose batch is open, also in Reshapes that were traced with the batch as their first number."""
    free = ModelProto.FromString(model.SerializeToString())
    fixed = free.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    for value in (free.graph.input[0], free.graph.output[0]):
        dim = value.type.tensor_type.shape.dim
        if len(dim):
            dim[0].dim_param = "batch"
    del free.graph.value_info[:]
    shapes = {name for node in free.graph.node if node.op_type in ("Reshape", "Expand") for name in node.input[1:2]}
    for tensor in _constants(free):
        if tensor.name in shapes and fixed:
            numbers = numpy_helper.to_array(tensor).copy()
            if numbers.ndim == 1 and len(numbers) and numbers[0] == fixed:
                numbers[0] = 0 if -1 in numbers else -1  # 0 is the side that the tensor has
                tensor.CopyFrom(numpy_helper.from_array(numbers, tensor.name))
    return free


def _constants(model: ModelProto) -> list[TensorProto]:
    """Initializers, and the values of Constant nodes under their outputs' names."""
    found = list(model.graph.initializer)
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            node.attribute[0].t.name = node.output[0]
            found.append(node.attribute[0].t)
    return found


def _with_shapes(path: Path, model: ModelProto, crops: NDArray[np.float32], fixed: int | None) -> ModelProto:
    """The model with the type and the shape of every tensor, as quantization needs them.

    They are those of runs, since shape inference stops at the first Reshape whose shape is computed; a side that
    changes with the batch is called by its name.
    """
    names = [name for node in model.graph.node for name in node.output if name]
    watched = ModelProto.FromString(model.SerializeToString())
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session, counts = _session(path, watched), [fixed] if fixed else [2, 3]
    runs = [_outputs(path, session, crops[np.arange(count) % len(crops)]) for count in counts]
    found = ModelProto.FromString(model.SerializeToString())
    del found.graph.value_info[:]
    results = {value.name for value in found.graph.output}
    for name, *values in zip(names, *runs, strict=True):
        sides = [
            side[0] if len(set(side)) == 1 else "batch" for side in zip(*(value.shape for value in values), strict=True)
        ]
        value = helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(values[0].dtype), sides)
        if name in results:
            next(each for each in found.graph.output if each.name == name).CopyFrom(value)
        else:
            found.graph.value_info.append(value)
    return found


def _session(path: Path, model: ModelProto) -> Any:
    """A model opened; ValueError where ONNX Runtime does not take it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise ValueError(f"{path} is not run by ONNX Runtime: {printable(str(error)).splitlines()[0][:200]}") from error


def _outputs(path: Path, session: Any, crops: NDArray[np.float32]) -> list[NDArray[Any]]:
    """All outputs for a batch of crops; ValueError where ONNX Runtime cannot run it."""
    try:
        return [np.asarray(found) for found in session.run(None, {session.get_inputs()[0].name: crops})]
    except ORT_ERRORS as error:
        raise ValueError(f"{path} is not run by ONNX Runtime: {printable(str(error)).splitlines()[0][:200]}") from error


def _heatmaps(path: Path, model: ModelProto, crops: NDArray[np.float32], batch: int) -> NDArray[np.float32]:
    """The output for all crops (N, 3, H, W), `batch` of them at a time; the last ones stand in for missing ones."""
    session, found = _session(path, model), []
    for start in range(0, len(crops), batch):
        rows = np.minimum(np.arange(start, start + batch), len(crops) - 1)
        found.append(_outputs(path, session, crops[rows])[0][: len(crops) - start])
    return np.concatenate(found)


def _close(found: NDArray[np.float32], expected: NDArray[np.float32]) -> bool:
    return found.shape == expected.shape and bool(np.abs(found - expected).max() <= SAME * np.ptp(expected))


def _name_nodes(model: ModelProto) -> None:
    """A name of its own for every node: units and FP32 islands are lists of them."""
    seen: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{number}"
        seen.add(node.name)


def _take_rgb(model: ModelProto) -> None:
    """Exchange red and blue behind the input of a network that was trained on BGR."""
    name = model.graph.input[0].name
    swapped = f"{name}/bgr"
    for node in model.graph.node:
        for place, read in enumerate(node.input):
            if read == name:
                node.input[place] = swapped
    order = numpy_helper.from_array(np.array([2, 1, 0], np.int64), f"{name}/order")
    model.graph.initializer.append(order)
    model.graph.node.insert(0, helper.make_node("Gather", [name, order.name], [swapped], name=swapped, axis=1))
    value = helper.make_empty_tensor_value_info(swapped)
    value.CopyFrom(model.graph.input[0])
    value.name = swapped
    model.graph.value_info.append(value)

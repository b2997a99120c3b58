"""Session for ONNX Runtime, on the CPU or on CUDA."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...parsing import device_index
from ...pose.heatmap import HEATMAP_STRIDE
from ...pose.skeleton import numbered_skeleton
from ...pose.spec import LARGEST_STRIDE, PoseSpec, spec_for
from ..inputs import check_crops, opened
from .onnx_files import reads_other_files

try:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors  # pyright: ignore[reportAttributeAccessIssue]
except ImportError as error:
    raise ImportError("ONNX Runtime is not installed: pip install 'lehrnet[cpu]' or 'lehrnet[gpu]'") from error

onnxruntime.disable_telemetry_events()  # in case it was loaded before `lehrnet` could set its environment variable
log = logging.getLogger(__name__)

ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)
)
CUDA = "CUDAExecutionProvider"
OUR_DOMAIN = "lehrnet"
"""Of the operator in graphs for TensorRT's plugin."""
FLOAT = "tensor(float)"


class OnnxSession:
    """An ONNX file from crops to heatmaps, with one input and one output of any names.

    `content` is the file's content if it was read already; then the model must not use external data.
    """

    backend = "onnxruntime"

    def __init__(
        self, path: Path, device: str = "auto", threads: int | None = None, *, content: bytes | None = None
    ) -> None:
        gpu = choose_gpu(device)
        self.device = "cpu" if gpu is None else f"cuda:{gpu}"
        self._session: onnxruntime.InferenceSession | None = open_graph(path, gpu, threads, content=content)
        if gpu is not None and CUDA not in self._session.get_providers():
            raise RuntimeError(f"ONNX Runtime found no usable CUDA for {device}; use device cpu or mend the driver")
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._batch, self.spec = _contract(path, inputs, outputs)
        self._path, self.names = path, (inputs[0].name, outputs[0].name)
        self._heatmaps = (len(self.spec.skeleton), *self.spec.grid)

    def run(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        """Heatmaps (N, K, H/4, W/4) of normalized RGB crops (N, 3, H, W); a fixed-batch graph runs repeatedly."""
        session = opened(self._session)
        check_crops(crops, self.spec.input_size)
        size = self._batch or max(len(crops), 1)
        parts = [self._run(session, crops[start : start + size], size) for start in range(0, len(crops), size)]
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty((0, *self._heatmaps), np.float32), *parts])

    def close(self) -> None:
        """Free the graph's memory."""
        self._session = None

    def _run(self, session: onnxruntime.InferenceSession, crops: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        people = len(crops)
        if people < size:
            crops = np.concatenate((crops, np.zeros((size - people, *crops.shape[1:]), np.float32)))
        (heatmaps,) = run_graph(session, self._path, self.names[1:], {self.names[0]: crops})
        if heatmaps.shape != (size, *self._heatmaps):
            raise ValueError(
                f"{self._path} gave {self.names[1]} of shape {heatmaps.shape} for {size} crops, "
                f"expected {(size, *self._heatmaps)}"
            )
        return heatmaps[:people]


def run_graph(
    session: onnxruntime.InferenceSession, path: Path, outputs: Sequence[str], feeds: Mapping[str, Any]
) -> list[NDArray[Any]]:
    """Run a graph and return its outputs; RuntimeError with ONNX Runtime's message if it fails."""
    try:
        return [np.asarray(found) for found in session.run(list(outputs), dict(feeds))]
    except ORT_ERRORS as error:
        raise RuntimeError(f"ONNX Runtime could not run {path}: {_first_line(error)}") from error


def open_graph(
    path: Path, gpu: int | None = None, threads: int | None = None, *, content: bytes | None = None
) -> onnxruntime.InferenceSession:
    """Open an ONNX file on the CPU or on a GPU; ValueError if ONNX Runtime cannot run it."""
    if content is not None:
        _check_alone(path, content)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal only: errors are raised, and warnings are meant for the authors of graphs
    if threads is not None:
        options.intra_op_num_threads = threads
    providers = ["CPUExecutionProvider"] if gpu is None else [(CUDA, {"device_id": gpu}), "CPUExecutionProvider"]
    model = str(path) if content is None else content
    try:
        try:
            return onnxruntime.InferenceSession(model, options, providers=providers)
        except (errors.InvalidGraph, errors.Fail) as error:
            if not _allow_for(str(error), path, options):
                raise
            return onnxruntime.InferenceSession(model, options, providers=providers)
    except ORT_ERRORS as error:
        raise ValueError(f"{path} is not an ONNX model that ONNX Runtime can run: {_first_line(error)}") from error


def _check_alone(path: Path, content: bytes) -> None:
    try:
        reads = reads_other_files(content)
    except ValueError as error:
        raise ValueError(f"{path} is not an ONNX model: {error}") from error
    if reads:
        raise ValueError(
            f"{path} keeps tensors in other files, which the bundle's manifest does not name; "
            "save it with its tensors inside and export the bundle again"
        )


def _contract(path: Path, inputs: Sequence[Any], outputs: Sequence[Any]) -> tuple[int | None, PoseSpec]:
    """Fixed batch or None, and the spec as far as shapes tell it; ValueError for another kind of graph."""
    if len(inputs) != 1 or len(outputs) != 1:
        names = [node.name for node in inputs], [node.name for node in outputs]
        raise ValueError(f"{path} maps {names[0]} to {names[1]}, expected one input and one output")
    crops, heatmaps = inputs[0], outputs[0]
    for node, wanted in ((crops, "N x 3 x H x W"), (heatmaps, "N x K x h x w")):
        shape = node.shape if isinstance(node.shape, list | tuple) else []
        if node.type != FLOAT or len(shape) != 4:
            shown = " x ".join(map(str, shape)) or "no tensor"
            raise ValueError(f"{path}: {node.name} is {node.type} of {shown}, expected {FLOAT} of {wanted}")
    batch, channels, height, width = crops.shape
    if channels != 3 or not all(isinstance(side, int) and side >= 32 and side % 32 == 0 for side in (height, width)):
        raise ValueError(
            f"{path}: {crops.name} is {' x '.join(map(str, crops.shape))}, expected N x 3 x H x W with fixed H and W "
            "in multiples of 32; export it with a fixed size"
        )
    joints, *grid = heatmaps.shape[1:]
    stride = stride_of((height, width), grid)
    if not isinstance(joints, int) or stride is None:
        raise ValueError(
            f"{path}: {heatmaps.name} is {' x '.join(map(str, heatmaps.shape))}, expected N x K x {height // 4} x "
            f"{width // 4}, or another whole stride up to {LARGEST_STRIDE}, with a fixed K"
        )
    spec = replace(_usual_spec(joints), input_size=(height, width), stride=stride)
    return (batch if isinstance(batch, int) else None), spec


def stride_of(size: tuple[int, int], grid: Sequence[Any]) -> int | None:
    """The whole stride from crops of (height, width) px to heatmaps of (h, w) cells; None where there is none.

    Sides that are no numbers are not known before a run, and then HRNet's stride is assumed.
    """
    strides = [side // cells for side, cells in zip(size, grid, strict=True) if isinstance(cells, int) and cells > 0]
    stride = strides[0] if strides else HEATMAP_STRIDE
    fits = all(not isinstance(cells, int) or cells * stride == side for side, cells in zip(size, grid, strict=True))
    return stride if fits and 1 <= stride <= LARGEST_STRIDE else None


def _usual_spec(joints: int) -> PoseSpec:
    """A bare file says only how many joints there are: COCO's, MPII's, or joints that nobody named."""
    try:
        return spec_for(joints)
    except ValueError:
        return PoseSpec(numbered_skeleton(joints))


def _allow_for(refusal: str, path: Path, options: onnxruntime.SessionOptions) -> bool:
    """Set the options that a refused graph needs; False if no remedy is known."""
    if f"{OUR_DOMAIN}:" in refusal:
        raise RuntimeError(
            f"{path} has the operator lehrnet.EMA, which TensorRT runs (`lehrnet build-engine`), ONNX Runtime not: "
            "use fp32 or native_fp32, and export a bundle with fp32_cpu again"
        )
    if "QLinear" in refusal:
        # 1.32 fuses Q/DQ pairs of FP16 into operators that it then refuses to run.
        _say_once("ONNX Runtime runs INT8 beside FP16 step by step: exact, but slow; int8_cpu is its form")
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        return True
    return False


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:500] if str(error) else type(error).__name__


@lru_cache
def _say_once(text: str) -> None:
    log.warning(text)


def choose_gpu(device: str) -> int | None:
    """Number of the GPU that `device` means for ONNX Runtime; None for the CPU."""
    available = CUDA in onnxruntime.get_available_providers()
    if device == "auto":
        return 0 if available else None
    gpu = device_index(device)
    if gpu is not None and not available:
        raise RuntimeError(f"device is {device}, but this ONNX Runtime has no CUDA: pip install 'lehrnet[gpu]'")
    return gpu

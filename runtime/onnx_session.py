"""ONNX Runtime, on the CPU or on CUDA."""

import logging
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..pose.spec import spec_for
from .bundle import INPUT_NAME, OUTPUT_NAME
from .inputs import check_crops, device_index
from .operators import MISSING, operators_library

try:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors  # pyright: ignore[reportAttributeAccessIssue]
except ImportError as error:
    raise ImportError("ONNX Runtime is not installed: pip install 'lehrnet[cpu]' or 'lehrnet[gpu]'") from error

log = logging.getLogger(__name__)

UNREADABLE = (errors.InvalidProtobuf, errors.InvalidGraph, errors.InvalidArgument, errors.Fail, errors.NotImplemented)
CUDA = "CUDAExecutionProvider"
OPERATORS = "lehrnet"
"""Their domain."""


class OnnxSession:
    """An ONNX file with one input `crops` and one output `heatmaps`."""

    backend = "onnxruntime"

    def __init__(self, path: Path, device: str = "auto", threads: int | None = None) -> None:
        gpu = _choose_gpu(device)
        self.device = "cpu" if gpu is None else f"cuda:{gpu}"
        self._session = open_graph(path, gpu, threads)
        if gpu is not None and CUDA not in self._session.get_providers():
            raise RuntimeError(f"ONNX Runtime found no usable CUDA for {device}; use device cpu or mend the driver")
        inputs = [node.name for node in self._session.get_inputs()]
        outputs = [node.name for node in self._session.get_outputs()]
        if inputs != [INPUT_NAME] or outputs != [OUTPUT_NAME]:
            raise ValueError(f"{path} maps {inputs} to {outputs}, expected {[INPUT_NAME]} to {[OUTPUT_NAME]}")
        height, width = self._session.get_inputs()[0].shape[2:]
        self.spec = replace(spec_for(self._session.get_outputs()[0].shape[1]), input_size=(height, width))

    def run(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        """Heatmaps (N, K, H/4, W/4) of normalised RGB crops (N, 3, H, W)."""
        check_crops(crops, self.spec.input_size)
        return np.asarray(self._session.run([OUTPUT_NAME], {INPUT_NAME: crops})[0])


def open_graph(path: Path, gpu: int | None = None, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Any ONNX file on the CPU or on a GPU; ValueError for one that ONNX Runtime cannot run."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors: its warnings speak to the authors of graphs
    if threads is not None:
        options.intra_op_num_threads = threads
    providers = ["CPUExecutionProvider"] if gpu is None else [(CUDA, {"device_id": gpu}), "CPUExecutionProvider"]
    try:
        try:
            return onnxruntime.InferenceSession(str(path), options, providers=providers)
        except (errors.InvalidGraph, errors.Fail) as error:
            if not _allow_for(str(error), path, options):
                raise
            return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except UNREADABLE as error:
        raise ValueError(f"{path} is not an ONNX model that ONNX Runtime can run: {error}") from error


def _allow_for(refusal: str, path: Path, options: onnxruntime.SessionOptions) -> bool:
    """Set what a refused graph needs; False where nothing is known that would help."""
    if f"{OPERATORS}:" in refusal:
        library = operators_library()
        if library is None:
            raise RuntimeError(f"{path}: {MISSING}")
        options.register_custom_ops_library(library)
        return True
    if "QLinear" in refusal:
        # 1.32 fuses Q/DQ pairs of FP16 into operators that it then refuses to run.
        _say_once("ONNX Runtime runs INT8 beside FP16 step by step: exact, but slow; int8_cpu is its form")
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        return True
    return False


@lru_cache
def _say_once(text: str) -> None:
    log.warning(text)


def _choose_gpu(device: str) -> int | None:
    available = CUDA in onnxruntime.get_available_providers()
    if device == "auto":
        return 0 if available else None
    gpu = device_index(device)
    if gpu is not None and not available:
        raise RuntimeError(f"device is {device}, but this ONNX Runtime has no CUDA: pip install 'lehrnet[gpu]'")
    return gpu

"""TensorRT and TensorRT-RTX: an engine of a bundle, with copies and network as one CUDA graph for each batch bucket.

Not yet run on a GPU: written against the documented interfaces, tested against stand-ins for both libraries.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bundle import INPUT_NAME, OUTPUT_NAME, read_bundle
from .cuda import Graph, Mirrored, OutOfDeviceMemoryError, Stream, describe_gpu
from .fit import BuiltFor, Here, differences
from .inputs import check_crops, device_index

INSTALL = {"tensorrt": "tensorrt", "tensorrt_rtx": "rtx"}


class TensorRtSession:
    """An engine, as `lehrnet build-engine` enters it into a bundle. One thread at a time; open more for more threads.

    Args:
        path: the engine, beside its bundle's manifest.
        device: "cuda", "cuda:N" or "auto"; an engine runs on nothing else.
        threads: the CPU's, of which an engine takes none.
        stream: the caller's CUDA stream by its handle; None makes one.
    """

    def __init__(
        self, path: Path, device: str = "auto", threads: int | None = None, *, stream: int | None = None
    ) -> None:
        del threads
        bundle = read_bundle(path.parent)
        artefact = next((each for each in bundle.artefacts.values() if each.file == path.name), None)
        if artefact is None or artefact.built_for is None:
            raise ValueError(f"{path} is no engine of the bundle beside it; build it there: lehrnet build-engine")
        gpu = 0 if device == "auto" else device_index(device)
        if gpu is None:
            raise ValueError(f"device is {device}, but {path.name} is an engine, which runs on a GPU: device cuda")
        built = BuiltFor.read(dict(artefact.built_for))
        self._trt = _module(built.library)
        self._check_fit(path, built, gpu)
        self.backend, self.device, self.spec = built.library, f"cuda:{gpu}", bundle.spec
        self.batches = artefact.batches
        self._engine: Any = self._deserialize(path)
        self.stream = Stream(stream)
        self.crops = Mirrored((self.batches[-1], 3, *self.spec.input_size))
        height, width = self.spec.input_size
        self.heatmaps = Mirrored((self.batches[-1], len(self.spec.joints), height // 4, width // 4))
        self._graphs: dict[int, tuple[Any, Graph]] = {}  # a context by its graph, which holds on to its memory

    def run(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        """Heatmaps (N, K, H/4, W/4) of normalised RGB crops (N, 3, H, W); more than the largest batch run in turns."""
        if self._engine is None:
            raise ValueError("the session is closed")
        check_crops(crops, self.spec.input_size)
        most = self.batches[-1]
        heatmaps = np.empty((len(crops), *self.heatmaps.host.shape[1:]), np.float32)
        for start in range(0, len(crops), most):
            part = crops[start : start + most]
            self.crops.host[: len(part)] = part
            bucket = self.bucket(len(part))
            if bucket not in self._graphs:
                self._graphs[bucket] = self._capture(bucket)
            self._graphs[bucket][1].launch(self.stream)
            self.stream.synchronize()
            heatmaps[start : start + most] = self.heatmaps.host[: len(part)]
        return heatmaps

    def close(self) -> None:
        """Give the GPU's memory back; more than once is fine."""
        if self._engine is None:
            return
        for _, graph in self._graphs.values():
            graph.close()
        self._graphs.clear()
        self._engine = None
        for part in (self.crops, self.heatmaps, self.stream):
            part.close()

    def _check_fit(self, path: Path, built: BuiltFor, gpu: int) -> None:
        there = describe_gpu(gpu)
        here = Here(built.library, self._trt.__version__, there.compute_capability, there.name)
        reasons = differences(built, here)
        if reasons:
            raise RuntimeError(
                f"{path.name} does not fit this machine: {'; '.join(reasons)}. Build it here (lehrnet build-engine), "
                "or run the graph it was built from"
            )

    def _deserialize(self, path: Path) -> Any:
        self._logger = self._trt.Logger(self._trt.Logger.ERROR)
        engine = self._trt.Runtime(self._logger).deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            raise RuntimeError(f"{path} is refused by {self.backend} {self._trt.__version__}; build it again here")
        return engine

    def bucket(self, count: int) -> int:
        """The smallest batch bucket that holds so many crops."""
        return next(batch for batch in self.batches if batch >= count)

    def context(self, bucket: int) -> Any:
        """A context of its own for a bucket, which has run once: a capture must not prepare anything."""
        context = self._engine.create_execution_context()
        if context is None:
            raise OutOfDeviceMemoryError(f"no room for a context of {bucket} crops; close other sessions")
        done = (
            context.set_optimization_profile_async(self.batches.index(bucket), int(self.stream.handle))
            and context.set_input_shape(INPUT_NAME, (bucket, *self.crops.host.shape[1:]))
            and context.set_tensor_address(INPUT_NAME, self.crops.address)
            and context.set_tensor_address(OUTPUT_NAME, self.heatmaps.address)
        )
        if not done:
            raise RuntimeError(f"{self.backend} refused a batch of {bucket}")
        self.enqueue(context)
        self.stream.synchronize()
        return context

    def enqueue(self, context: Any) -> None:
        """The network on `stream`, from `crops` to `heatmaps` on the device."""
        if not context.execute_async_v3(int(self.stream.handle)):
            raise RuntimeError(f"{self.backend} could not enqueue the network")

    def _capture(self, bucket: int) -> tuple[Any, Graph]:
        context = self.context(bucket)
        with self.stream.capture() as graph:
            self.crops.upload(bucket, self.stream)
            self.enqueue(context)
            self.heatmaps.download(bucket, self.stream)
        return context, graph


def _module(library: str) -> Any:
    try:
        return import_module(library)
    except ImportError as error:
        extra = INSTALL.get(library, library)
        raise ImportError(f"{library} is not installed ({error}): pip install 'lehrnet[{extra}]'") from error

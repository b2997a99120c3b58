"""Session for the engines of TensorRT and TensorRT-RTX, on CUDA graphs.

Not yet run on a GPU: written to the documented interfaces, tested against stand-ins for both libraries.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from ...parsing import device_index
from ..bundle import read_bundle
from ..compatibility import ENGINE_LIBRARIES, BuiltFor, Library, Machine, differences
from .driver import OutOfDeviceMemoryError, describe_gpu
from .graph_session import GraphSession


class TensorRtSession(GraphSession):
    """An engine that `lehrnet build-engine` added to a bundle.

    An engine is executable code and is not sandboxed; `open_session` checks that it is trusted before it gets here.

    Args:
        path: the engine file, in the folder of its bundle's manifest.
        device: "cuda", "cuda:N" or "auto"; an engine cannot run on a CPU.
        threads: number of CPU threads, which an engine ignores.
        stream: handle of the caller's CUDA stream; None makes one.
        content: content of the file if it was read already, so that the bytes that were hashed are the ones that run.
    """

    def __init__(
        self,
        path: Path,
        device: str = "auto",
        threads: int | None = None,
        *,
        stream: int | None = None,
        content: bytes | None = None,
    ) -> None:
        del threads
        bundle = read_bundle(path.parent)
        name = next((name for name, each in bundle.artefacts.items() if each.file == path.name), "")
        built = bundle.artefacts[name].built_for if name else None
        if built is None:
            raise ValueError(f"{path} is not in its bundle's manifest; build it there: lehrnet build-engine")
        gpu = 0 if device == "auto" else device_index(device)
        if gpu is None:
            raise ValueError(f"device is {device}, but {path.name} is an engine, which runs on a GPU: device cuda")
        self.backend, self._names = built.library, bundle.names
        self._trt = _module(built.library)
        self._check_fit(path, built, gpu)
        self._engine: Any = self._deserialize(
            path, bundle.read(name) if content is None else bundle.checked(name, content)
        )
        super().__init__(bundle.spec, gpu, bundle.artefacts[name].batches, stream)

    def prepare(self, bucket: int) -> Any:
        """An execution context for a bucket."""
        context = self._engine.create_execution_context()
        if context is None:
            raise OutOfDeviceMemoryError(f"no GPU memory for a context of {bucket} crops; close other sessions")
        done = (
            context.set_optimization_profile_async(self.batches.index(bucket), self.stream.handle)
            and context.set_input_shape(self._names[0], (bucket, *self.crops.host.shape[1:]))
            and context.set_tensor_address(self._names[0], self.crops.address)
            and context.set_tensor_address(self._names[1], self.heatmaps.address)
        )
        if not done:
            raise RuntimeError(f"{self.backend} refused a batch of {bucket}")
        self.enqueue(context)
        self.stream.synchronize()
        return context

    def enqueue(self, prepared: Any) -> None:
        """Enqueue the network in a context made by `prepare`."""
        if not prepared.execute_async_v3(self.stream.handle):
            raise RuntimeError(f"{self.backend} could not enqueue the network")

    def close(self) -> None:
        """Free the GPU memory; may be called more than once."""
        super().close()
        self._engine = None

    def _check_fit(self, path: Path, built: BuiltFor, gpu: int) -> None:
        there = describe_gpu(gpu)
        here = Machine(built.library, self._trt.__version__, there.compute_capability, there.name)
        reasons = differences(built, here)
        if reasons:
            raise RuntimeError(
                f"{path.name} does not fit this machine: {'; '.join(reasons)}. Build it here (lehrnet build-engine), "
                "or run the graph it was built from"
            )

    def _deserialize(self, path: Path, content: bytes) -> Any:
        self._logger = self._trt.Logger(self._trt.Logger.ERROR)
        engine = self._trt.Runtime(self._logger).deserialize_cuda_engine(content)
        if engine is None:
            raise RuntimeError(f"{path} is refused by {self.backend} {self._trt.__version__}; build it again here")
        return engine


def _module(library: Library) -> Any:
    try:  # safe to import: parsing the manifest allows only two names
        return import_module(ENGINE_LIBRARIES[library].module)
    except ImportError as error:
        raise ImportError(f"{library} is not installed ({error}): {ENGINE_LIBRARIES[library].install}") from error

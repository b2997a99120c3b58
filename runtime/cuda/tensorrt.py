"""TensorRT and TensorRT-RTX: an engine of a bundle on CUDA graphs.

Not yet run on a GPU: written against the documented interfaces, tested against stand-ins for both libraries.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from ...parsing import device_index
from ..bundle import INPUT_NAME, OUTPUT_NAME, read_bundle
from ..compatibility import BuiltFor, Library, Machine, differences
from .driver import OutOfDeviceMemoryError, describe_gpu
from .graph_session import GraphSession

INSTALL = {"tensorrt": "tensorrt", "tensorrt_rtx": "rtx"}


class TensorRtSession(GraphSession):
    """An engine, as `lehrnet build-engine` enters it into a bundle.

    An engine is code: it is run as it is, and whoever made it decides what it does. `open_session` asks for trust
    before it comes here.

    Args:
        path: the engine, beside its bundle's manifest.
        device: "cuda", "cuda:N" or "auto"; an engine runs on nothing else.
        threads: the CPU's, of which an engine takes none.
        stream: the caller's CUDA stream by its handle; None makes one.
        content: the engine's, where it was read already: what was trusted by its hash is what runs.
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
            raise ValueError(f"{path} is no engine of the bundle beside it; build it there: lehrnet build-engine")
        gpu = 0 if device == "auto" else device_index(device)
        if gpu is None:
            raise ValueError(f"device is {device}, but {path.name} is an engine, which runs on a GPU: device cuda")
        self.backend = built.library
        self._trt = _module(built.library)
        self._check_fit(path, built, gpu)
        self._engine: Any = self._deserialize(
            path, bundle.read(name) if content is None else bundle.checked(name, content)
        )
        super().__init__(bundle.spec, gpu, bundle.artefacts[name].batches, stream)

    def prepare(self, bucket: int) -> Any:
        """A context of its own for a bucket."""
        context = self._engine.create_execution_context()
        if context is None:
            raise OutOfDeviceMemoryError(f"no room for a context of {bucket} crops; close other sessions")
        done = (
            context.set_optimization_profile_async(self.batches.index(bucket), self.stream.handle)
            and context.set_input_shape(INPUT_NAME, (bucket, *self.crops.host.shape[1:]))
            and context.set_tensor_address(INPUT_NAME, self.crops.address)
            and context.set_tensor_address(OUTPUT_NAME, self.heatmaps.address)
        )
        if not done:
            raise RuntimeError(f"{self.backend} refused a batch of {bucket}")
        self.enqueue(context)
        self.stream.synchronize()
        return context

    def enqueue(self, prepared: Any) -> None:
        """The network of a context that `prepare` made."""
        if not prepared.execute_async_v3(self.stream.handle):
            raise RuntimeError(f"{self.backend} could not enqueue the network")

    def close(self) -> None:
        """Give the GPU's memory back; more than once is fine."""
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
    try:  # one of two names: a manifest's word was checked against them
        return import_module(library)
    except ImportError as error:
        extra = INSTALL.get(library, library)
        raise ImportError(f"{library} is not installed ({error}): pip install 'lehrnet[{extra}]'") from error

"""CUDA as the runtime needs it: memory, streams and graphs over NVIDIA's cuda-python.

All of it in the device's primary context, which PyTorch shares, or in the caller's own, such as PyCUDA makes.
"""

import contextlib
import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    driver: Any = import_module("cuda.bindings.driver")  # they bring no types
    cudart: Any = import_module("cuda.bindings.runtime")
except ImportError as error:
    raise ImportError(
        "cuda-python is not installed: pip install cuda-python, or 'lehrnet[tensorrt]', 'lehrnet[rtx]'"
    ) from error

MIB = 1 << 20
OUT_OF_MEMORY = 2
"""The code of the runtime and of the driver alike."""


@dataclass(frozen=True)
class Gpu:
    """One GPU."""

    name: str
    compute_capability: str
    driver: str
    """The newest CUDA that its driver runs: "13.0"."""
    free_mib: int
    total_mib: int


class CudaError(RuntimeError):
    """A CUDA call failed."""


class OutOfDeviceMemoryError(CudaError):
    """No room on the GPU; what is open stays usable."""


def call(function: Any, *arguments: Any) -> Any:
    """A function of CUDA: its results without the error code; CudaError with CUDA's name for any other than success."""
    code, *results = function(*arguments)
    if int(code) != 0:
        kind = OutOfDeviceMemoryError if int(code) == OUT_OF_MEMORY else CudaError
        raise kind(f"{function.__name__} gave {code.name}")
    return results[0] if len(results) == 1 else tuple(results)


def count_gpus() -> int:
    """GPUs that CUDA can use; 0 without a driver."""
    code, count = cudart.cudaGetDeviceCount()
    return int(count) if code == cudart.cudaError_t.cudaSuccess else 0


def describe_gpu(index: int) -> Gpu:
    """Name, compute capability and memory; CudaError where there is no such GPU."""
    count = count_gpus()
    if index >= count:
        raise CudaError(f"device is cuda:{index}, but CUDA finds {count} GPUs; see `lehrnet doctor`")
    use_device(index)
    properties = call(cudart.cudaGetDeviceProperties, index)
    version = call(cudart.cudaDriverGetVersion)
    free, total = call(cudart.cudaMemGetInfo)
    return Gpu(
        bytes(properties.name).partition(b"\0")[0].decode(),
        f"{properties.major}.{properties.minor}",
        f"{version // 1000}.{version % 1000 // 10}",
        free // MIB,
        total // MIB,
    )


def use_device(index: int) -> None:
    """Work on a GPU in its primary context, as PyTorch does, or in the caller's own current one, such as PyCUDA's.

    CudaError where that context is of another GPU.
    """
    current = call(driver.cuCtxGetCurrent)
    if int(current) != 0:
        device = int(call(driver.cuCtxGetDevice))
        primary = call(driver.cuDevicePrimaryCtxRetain, device)
        call(driver.cuDevicePrimaryCtxRelease, device)
        if int(current) != int(primary):
            if device != index:
                raise CudaError(f"the current CUDA context is of cuda:{device}, but device is cuda:{index}")
            return
    call(cudart.cudaSetDevice, index)


def device_of(address: int) -> int | None:
    """Which GPU's memory an address is of; None for the host's."""
    attributes = call(cudart.cudaPointerGetAttributes, address)
    on_device = attributes.type == cudart.cudaMemoryType.cudaMemoryTypeDevice
    return int(attributes.device) if on_device else None


class Stream:
    """A stream of its own, or the caller's by its handle, which stays the caller's."""

    def __init__(self, handle: int | None = None) -> None:
        self._own = handle is None
        self.handle: Any = handle
        if self._own:
            self.handle = int(call(cudart.cudaStreamCreateWithFlags, cudart.cudaStreamNonBlocking))

    def synchronize(self) -> None:
        """Wait; Python's other threads go on."""
        call(cudart.cudaStreamSynchronize, self.handle)

    def wait_for(self, event: "Event") -> None:
        """What is enqueued from now on begins after the event; the host does not wait."""
        call(cudart.cudaStreamWaitEvent, self.handle, event.handle, 0)

    @contextlib.contextmanager
    def capture(self) -> Iterator["Graph"]:
        """What the block enqueues becomes a graph; an error within leaves none."""
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call(cudart.cudaStreamBeginCapture, self.handle, mode)
        graph = Graph()
        try:
            yield graph
        except BaseException:
            with contextlib.suppress(CudaError):
                call(cudart.cudaStreamEndCapture, self.handle)
            raise
        captured = call(cudart.cudaStreamEndCapture, self.handle)
        try:
            graph.executable = call(cudart.cudaGraphInstantiate, captured, 0)
        finally:
            call(cudart.cudaGraphDestroy, captured)

    def close(self) -> None:
        if self._own and self.handle is not None:
            call(cudart.cudaStreamDestroy, self.handle)
        self.handle = None


class Event:
    """A place in a stream's work that others can wait for."""

    def __init__(self) -> None:
        self.handle: Any = int(call(cudart.cudaEventCreateWithFlags, cudart.cudaEventDisableTiming))

    def record(self, stream: Stream) -> None:
        """Machine, in the stream's work so far."""
        call(cudart.cudaEventRecord, self.handle, stream.handle)

    def synchronize(self) -> None:
        """The host waits; Python's other threads go on."""
        call(cudart.cudaEventSynchronize, self.handle)

    def close(self) -> None:
        if self.handle is not None:
            call(cudart.cudaEventDestroy, self.handle)
        self.handle = None


class Graph:
    """A captured piece of work that is launched as one."""

    def __init__(self) -> None:
        self.executable: Any = None

    def launch(self, stream: Stream) -> None:
        if self.executable is None:
            raise CudaError("a graph that was not captured cannot be launched")
        call(cudart.cudaGraphLaunch, self.executable, stream.handle)

    def close(self) -> None:
        if self.executable is not None:
            call(cudart.cudaGraphExecDestroy, self.executable)
        self.executable = None


class HostDeviceBuffer:
    """An array in pinned memory of the host and its twin on the device."""

    def __init__(self, shape: tuple[int, ...], dtype: Any = np.float32) -> None:
        self.bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self.pointer: Any = None
        self._pinned: Any = None
        try:
            self.pointer = call(cudart.cudaMalloc, self.bytes)
            self._pinned = call(cudart.cudaMallocHost, self.bytes)
        except OutOfDeviceMemoryError as error:
            self.close()
            name, size = np.dtype(dtype).name, self.bytes / MIB
            raise OutOfDeviceMemoryError(f"no room for {shape} of {name}, {size:.1f} MiB: {error}") from error
        memory: Any = (ctypes.c_char * self.bytes).from_address(int(self._pinned))
        self.host: NDArray[Any] = np.ndarray(shape, dtype, buffer=memory)

    @property
    def address(self) -> int:
        """On the device."""
        return int(self.pointer)

    def upload(self, rows: int, stream: Stream) -> None:
        """Enqueue the first rows to the device."""
        self._copy(self.pointer, self._pinned, rows, cudart.cudaMemcpyKind.cudaMemcpyHostToDevice, stream)

    def download(self, rows: int, stream: Stream) -> None:
        """Enqueue the first rows to the host."""
        self._copy(self._pinned, self.pointer, rows, cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost, stream)

    def _copy(self, to: Any, source: Any, rows: int, kind: Any, stream: Stream) -> None:
        size = self.bytes // len(self.host) * rows
        call(cudart.cudaMemcpyAsync, to, source, size, kind, stream.handle)

    def close(self) -> None:
        if self.pointer is not None:
            call(cudart.cudaFree, self.pointer)
        if self._pinned is not None:
            call(cudart.cudaFreeHost, self._pinned)
        self.pointer = self._pinned = None

"""A thin layer over NVIDIA's cuda-python: memory, streams, events and graphs.

It works in the device's primary context, which PyTorch shares, or in the caller's current one, such as PyCUDA's.
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
    driver: Any = import_module("cuda.bindings.driver")  # Any: the bindings are untyped
    cudart: Any = import_module("cuda.bindings.runtime")
except ImportError as error:
    raise ImportError(
        "cuda-python is not installed: pip install cuda-python, or 'lehrnet[tensorrt]', 'lehrnet[rtx]'"
    ) from error

MIB = 1 << 20
OUT_OF_MEMORY = 2
"""Error code for out of memory, the same in CUDA's runtime and driver API."""


@dataclass(frozen=True)
class Gpu:
    """Properties of a GPU."""

    name: str
    compute_capability: str
    driver: str
    """Newest CUDA version that the driver supports, such as "13.0"."""
    free_mib: int
    total_mib: int


class CudaError(RuntimeError):
    """A failed CUDA call."""


class OutOfDeviceMemoryError(CudaError):
    """Out of GPU memory; open sessions stay usable."""


def call(function: Any, *arguments: Any) -> Any:
    """Call a CUDA function and return its results without the status; CudaError with its name unless it succeeded."""
    code, *results = function(*arguments)
    if int(code) != 0:
        kind = OutOfDeviceMemoryError if int(code) == OUT_OF_MEMORY else CudaError
        raise kind(f"{function.__name__} failed with {code.name}")
    return results[0] if len(results) == 1 else tuple(results)


def count_gpus() -> int:
    """Number of GPUs that CUDA can use; 0 without a driver."""
    code, count = cudart.cudaGetDeviceCount()
    return int(count) if code == cudart.cudaError_t.cudaSuccess else 0


def describe_gpu(index: int) -> Gpu:
    """Properties of a GPU; CudaError if there is no GPU of this index."""
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
    """Make a GPU current: in the caller's current context (such as PyCUDA's), else in the GPU's primary one.

    CudaError if the current context belongs to another GPU.
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
    """Index of the GPU whose memory an address is in; None for host memory."""
    attributes = call(cudart.cudaPointerGetAttributes, address)
    on_device = attributes.type == cudart.cudaMemoryType.cudaMemoryTypeDevice
    return int(attributes.device) if on_device else None


class Stream:
    """A new CUDA stream, or a wrapper of the caller's stream by its handle, which the caller keeps owning."""

    def __init__(self, handle: int | None = None) -> None:
        self._own = handle is None
        self.handle: Any = handle
        if self._own:
            self.handle = int(call(cudart.cudaStreamCreateWithFlags, cudart.cudaStreamNonBlocking))

    def synchronize(self) -> None:
        """Block the host until the stream's work is done; other Python threads continue."""
        call(cudart.cudaStreamSynchronize, self.handle)

    def wait_for(self, event: "Event") -> None:
        """Make work enqueued from now on start after the event; the host does not block."""
        call(cudart.cudaStreamWaitEvent, self.handle, event.handle, 0)

    @contextlib.contextmanager
    def capture(self) -> Iterator["Graph"]:
        """Capture the work that the block enqueues into a graph; it stays empty if the block raises."""
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
    """A CUDA event: a point in a stream's work that other streams and the host can wait for."""

    def __init__(self) -> None:
        self.handle: Any = int(call(cudart.cudaEventCreateWithFlags, cudart.cudaEventDisableTiming))

    def record(self, stream: Stream) -> None:
        """Record the event after the work enqueued on the stream so far."""
        call(cudart.cudaEventRecord, self.handle, stream.handle)

    def synchronize(self) -> None:
        """Block the host until the event has occurred; other Python threads continue."""
        call(cudart.cudaEventSynchronize, self.handle)

    def close(self) -> None:
        if self.handle is not None:
            call(cudart.cudaEventDestroy, self.handle)
        self.handle = None


class Graph:
    """A captured CUDA graph, launched as a whole."""

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
    """An array in pinned host memory, with a device array of the same size."""

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
        """Device address."""
        return int(self.pointer)

    def upload(self, rows: int, stream: Stream) -> None:
        """Enqueue a copy of the first `rows` rows from host to device."""
        self._copy(self.pointer, self._pinned, rows, cudart.cudaMemcpyKind.cudaMemcpyHostToDevice, stream)

    def download(self, rows: int, stream: Stream) -> None:
        """Enqueue a copy of the first `rows` rows from device to host."""
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

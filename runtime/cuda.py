"""CUDA as the runtime needs it: memory, streams and graphs over NVIDIA's cuda-python, in the device's primary context.

So PyTorch, or PyCUDA with `pycuda.autoprimaryctx`, works on in the same process.
"""

import contextlib
import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from cuda.bindings import runtime as cudart  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]
except ImportError as error:
    raise ImportError("cuda-python is not installed: pip install 'lehrnet[tensorrt]' or 'lehrnet[rtx]'") from error

MIB = 1 << 20


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
    """What CUDA said."""


class OutOfDeviceMemoryError(CudaError):
    """No room on the GPU; what is open stays usable."""


def call(function: Any, *arguments: Any) -> Any:
    """A function of the CUDA runtime: its results without the error code; CudaError with CUDA's words for any other."""
    code, *results = function(*arguments)
    if code != cudart.cudaError_t.cudaSuccess:
        words = cudart.cudaGetErrorString(code)[1].decode()
        kind = OutOfDeviceMemoryError if code == cudart.cudaError_t.cudaErrorMemoryAllocation else CudaError
        raise kind(f"{function.__name__}: {words} ({code.name})")
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
    call(cudart.cudaSetDevice, index)
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


class Stream:
    """A stream of its own, or the caller's by its handle, which stays the caller's."""

    def __init__(self, handle: int | None = None) -> None:
        self._own = handle is None
        self.handle: Any = handle
        if self._own:
            self.handle = call(cudart.cudaStreamCreateWithFlags, cudart.cudaStreamNonBlocking)

    def synchronize(self) -> None:
        """Wait; Python's other threads go on."""
        call(cudart.cudaStreamSynchronize, self.handle)

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


class Mirrored:
    """An array in pinned memory of the host and its twin on the device."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.bytes = 4 * int(np.prod(shape))
        self.pointer: Any = None
        self._pinned: Any = None
        try:
            self.pointer = call(cudart.cudaMalloc, self.bytes)
            self._pinned = call(cudart.cudaMallocHost, self.bytes)
        except OutOfDeviceMemoryError as error:
            self.close()
            raise OutOfDeviceMemoryError(
                f"no room for {shape} of float32, {self.bytes / MIB:.1f} MiB: {error}"
            ) from error
        flat = (ctypes.c_float * int(np.prod(shape))).from_address(int(self._pinned))
        self.host: NDArray[np.float32] = np.ctypeslib.as_array(flat).reshape(shape)

    def upload(self, count: int, stream: Stream) -> None:
        """Enqueue the first `count` rows to the device."""
        self._copy(self.pointer, self._pinned, count, cudart.cudaMemcpyKind.cudaMemcpyHostToDevice, stream)

    def download(self, count: int, stream: Stream) -> None:
        """Enqueue the first `count` rows to the host."""
        self._copy(self._pinned, self.pointer, count, cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost, stream)

    def _copy(self, to: Any, source: Any, count: int, kind: Any, stream: Stream) -> None:
        size = self.bytes // len(self.host) * count
        call(cudart.cudaMemcpyAsync, to, source, size, kind, stream.handle)

    def close(self) -> None:
        if self.pointer is not None:
            call(cudart.cudaFree, self.pointer)
        if self._pinned is not None:
            call(cudart.cudaFreeHost, self._pinned)
        self.pointer = self._pinned = None

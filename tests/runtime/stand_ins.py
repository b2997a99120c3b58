"""Stand-ins for CUDA's runtime and for TensorRT: memory is the host's, a graph is a list of what was enqueued."""

import ctypes
from types import SimpleNamespace

import numpy as np


class Code(int):
    @property
    def name(self) -> str:
        return {0: "cudaSuccess", 2: "cudaErrorMemoryAllocation"}.get(self, "cudaErrorUnknown")


class FakeCuda:
    """The functions of cuda.bindings.runtime that `lehrnet.runtime.cuda` calls."""

    cudaStreamNonBlocking = 1  # noqa: N815 - CUDA's names
    cudaError_t = SimpleNamespace(cudaSuccess=Code(0), cudaErrorMemoryAllocation=Code(2))  # noqa: N815
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)  # noqa: N815
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815

    def __init__(self, memory: int = 1 << 30, capability: tuple[int, int] = (8, 9)) -> None:
        self.room, self.capability = memory, capability
        self.blocks: dict[int, ctypes.Array] = {}
        self.recording: list | None = None
        self.launches = self.streams = self.graphs = self.events = 0
        self.driver = 13000
        self.waits: list[tuple[int, int]] = []
        self.recorded: list[tuple[int, int]] = []
        self.image = b""
        self.fail_capture = False
        self.frame_device = self.context = self.context_device = 0
        self.chosen: list[int] = []
        self.kernels: ctypes.CDLL

    def _allocate(self, size: int):
        if size > self.room:
            return Code(2), None
        block = (ctypes.c_char * size)()
        address = ctypes.addressof(block)
        self.blocks[address] = block
        return Code(0), address

    def _free(self, address: int):
        del self.blocks[address]
        return (Code(0),)

    cudaMalloc = cudaMallocHost = _allocate  # noqa: N815
    cudaFree = cudaFreeHost = _free  # noqa: N815

    def do(self, work) -> None:
        """Enqueue: now, or when the graph that is being captured is launched."""
        if self.recording is None:
            work()
        else:
            self.recording.append(work)

    def cudaMemcpyAsync(self, to, source, size, kind, stream):  # noqa: N802
        self.do(lambda: ctypes.memmove(to, source, size))
        return (Code(0),)

    def cudaStreamCreateWithFlags(self, flags):  # noqa: N802
        self.streams += 1
        return Code(0), 76 + self.streams

    def cudaStreamDestroy(self, stream):  # noqa: N802
        self.streams -= 1
        return (Code(0),)

    def cudaStreamSynchronize(self, stream):  # noqa: N802
        assert self.recording is None, "a capture does not wait"
        return (Code(0),)

    def cudaStreamBeginCapture(self, stream, mode):  # noqa: N802
        self.recording = []
        return (Code(0),)

    def cudaStreamEndCapture(self, stream):  # noqa: N802
        recorded, self.recording = self.recording, None
        return (Code(900), None) if self.fail_capture else (Code(0), recorded)

    def cudaGraphInstantiate(self, graph, flags):  # noqa: N802
        self.graphs += 1
        return Code(0), list(graph)

    def cudaGraphDestroy(self, graph):  # noqa: N802
        return (Code(0),)

    def cudaGraphExecDestroy(self, graph):  # noqa: N802
        self.graphs -= 1
        return (Code(0),)

    def cudaGraphLaunch(self, graph, stream):  # noqa: N802
        self.launches += 1
        for work in graph:
            work()
        return (Code(0),)

    def cuCtxGetCurrent(self):  # noqa: N802
        return Code(0), self.context

    def cuCtxGetDevice(self):  # noqa: N802
        return Code(0), self.context_device

    def cuDevicePrimaryCtxRetain(self, device):  # noqa: N802
        return Code(0), 1000 + device

    def cuDevicePrimaryCtxRelease(self, device):  # noqa: N802
        return (Code(0),)

    cudaMemoryType = SimpleNamespace(cudaMemoryTypeDevice=2)  # noqa: N815

    def cudaPointerGetAttributes(self, address):  # noqa: N802
        return Code(0), SimpleNamespace(type=2 if address in self.blocks else 0, device=self.frame_device)

    def cudaGetDeviceCount(self):  # noqa: N802
        return Code(0), 1

    def cudaSetDevice(self, index):  # noqa: N802
        self.chosen.append(index)
        return (Code(0),)

    def cudaGetDeviceProperties(self, index):  # noqa: N802
        return Code(0), SimpleNamespace(name=b"Stand-in\0\0", major=self.capability[0], minor=self.capability[1])

    def cudaDriverGetVersion(self):  # noqa: N802
        return Code(0), self.driver

    def cudaMemGetInfo(self):  # noqa: N802
        return Code(0), (1 << 30, 1 << 31)

    cudaEventDisableTiming = 2  # noqa: N815

    def cudaEventCreateWithFlags(self, flags):  # noqa: N802
        self.events += 1
        return Code(0), 500 + self.events

    def cudaEventDestroy(self, event):  # noqa: N802
        self.events -= 1
        return (Code(0),)

    def cudaEventRecord(self, event, stream):  # noqa: N802
        assert self.recording is None
        self.recorded.append((event, stream))
        return (Code(0),)

    def cudaStreamWaitEvent(self, stream, event, flags):  # noqa: N802
        self.waits.append((stream, event))
        return (Code(0),)

    def cudaEventSynchronize(self, event):  # noqa: N802
        assert self.recording is None, "a capture does not wait"
        return (Code(0),)

    def cuLibraryLoadData(self, code, *options):  # noqa: N802
        self.image = code
        return Code(0), 9

    def cuLibraryUnload(self, library):  # noqa: N802
        return (Code(0),)

    KERNELS = (b"lehrnet_crop_fp32", b"lehrnet_decode", b"lehrnet_ema_fp32", b"lehrnet_ema_fp16")

    def cuLibraryGetKernel(self, library, name):  # noqa: N802
        return Code(0), self.KERNELS.index(name)

    def cuLaunchKernel(self, kernel, *arguments):  # noqa: N802
        """The kernels' own arithmetic on the CPU, with the arguments as CUDA finds them: by their addresses."""
        grid, (*_, place, _) = arguments[:3], arguments
        launch = (self._crop, self._decode, self._ema, self._ema_fp16)[kernel]
        launch(grid, ctypes.cast(place, ctypes.POINTER(ctypes.c_void_p)))
        return (Code(0),)

    def _crop(self, grid, at) -> None:
        frames, frame_of, boxes, people = (_pointer(at[place]) for place in range(4))
        spec, (crops, affines) = bytes(_chars(at[4], 80)), (_pointer(at[place]) for place in (5, 6))
        plane = int(np.prod(np.frombuffer(spec, np.int32, 2)))

        def work() -> None:
            for person in range(min(_numbers(people, 1, np.int32)[0], grid[1])):
                record = frames + 48 * int(_numbers(frame_of, grid[1], np.int32)[person])
                data, chroma, stride, _ = (int(number) for number in _numbers(record, 4, np.uint64))
                width, height, kind = (int(number) for number in _numbers(record + 32, 3, np.int32))
                self.kernels.crop_on_the_cpu(
                    _at(data), _at(chroma), width, height, stride, kind, _at(boxes + 16 * person), 1, spec,
                    _at(crops + 12 * plane * person), _at(affines + 32 * person),
                )  # fmt: skip

        self.do(work)

    def _decode(self, grid, at) -> None:
        heatmaps, mirrored, mirror, affines, people = (_pointer(at[place]) for place in range(5))
        spec, keypoints = bytes(_chars(at[5], 28)), _pointer(at[6])

        def work() -> None:
            count = int(min(_numbers(people, 1, np.int32)[0], grid[1]))
            self.kernels.decode_on_the_cpu(
                _at(heatmaps), _at(mirrored), _at(mirror), _at(affines), count, grid[0], spec, _at(keypoints),
            )  # fmt: skip

        self.do(work)

    def _ema(self, grid, at, run=None) -> None:
        groups, people, _ = grid
        maps, shortcut, *weights, out = (_pointer(at[place]) for place in (*range(10), 15))
        channels, height, width, last = (int(_numbers(at[place], 1, np.int32)[0]) for place in (10, 11, 12, 13))
        record = EmaRecord(*weights, float(_numbers(at[14], 1, np.float32)[0]))
        run = run or self.kernels.ema_on_the_cpu
        shape = (people, groups, channels, height, width, last)
        self.do(lambda: run(_at(maps), _at(shortcut), ctypes.byref(record), *shape, _at(out)))

    def _ema_fp16(self, grid, at) -> None:
        self._ema(grid, at, self.kernels.ema_fp16_on_the_cpu)


class EmaRecord(ctypes.Structure):
    """`EmaWeights` of kernels/attention.h."""

    _fields_ = (*((f"weight{number}", ctypes.c_void_p) for number in range(8)), ("eps", ctypes.c_float))


def _at(address: int) -> ctypes.c_void_p:
    return ctypes.c_void_p(address or None)


def _chars(address: int, size: int):
    return (ctypes.c_char * size).from_address(address)


def _numbers(address: int, count: int, dtype) -> np.ndarray:
    return np.frombuffer(bytes(_chars(address, count * np.dtype(dtype).itemsize)), dtype)


def _pointer(address: int) -> int:
    """The device address that is an argument."""
    return int(_numbers(address, 1, np.uint64)[0])


class FakeTensorRt:
    """A tensorrt_rtx whose engines average a crop's colours over each heatmap's cell: joint k's is colour k % 3."""

    __version__ = "1.7.1.116"

    def __init__(self, cuda: FakeCuda, joints: int) -> None:
        self.cuda, self.joints, self.profiles = cuda, joints, []
        self.Logger = type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None})
        outer = self

        class Runtime:
            def __init__(self, logger) -> None:
                pass

            def deserialize_cuda_engine(self, content: bytes):
                return None if content == b"broken" else SimpleNamespace(create_execution_context=outer.context)

        self.Runtime = Runtime

    def context(self):
        return FakeContext(self)


class FakeContext:
    def __init__(self, trt: FakeTensorRt) -> None:
        self.trt, self.addresses = trt, {}
        self.shape: tuple[int, ...] = ()

    def set_optimization_profile_async(self, profile, stream) -> bool:
        self.trt.profiles.append(profile)
        return True

    def set_input_shape(self, name, shape) -> bool:
        self.shape = shape
        return name == "crops"

    def set_tensor_address(self, name, address) -> bool:
        self.addresses[name] = address
        return name in ("crops", "heatmaps")

    def execute_async_v3(self, stream) -> bool:
        def work() -> None:
            batch, _, height, width = self.shape
            crops = _array(self.addresses["crops"], self.shape)
            heatmaps = _array(self.addresses["heatmaps"], (batch, self.trt.joints, height // 4, width // 4))
            heatmaps[:] = averaged(crops, self.trt.joints)

        self.trt.cuda.do(work)
        return True


def averaged(crops: np.ndarray, joints: int) -> np.ndarray:
    """What the stand-in computes."""
    batch, _, height, width = crops.shape
    cells = crops.reshape(batch, 3, height // 4, 4, width // 4, 4).mean((3, 5), dtype=np.float32)
    return cells[:, [joint % 3 for joint in range(joints)]]


def _array(address: int, shape: tuple[int, ...]) -> np.ndarray:
    size = int(np.prod(shape))
    return np.ctypeslib.as_array((ctypes.c_float * size).from_address(address)).reshape(shape)

"""The CUDA kernels of `runtime/kernels`: compiled ahead of time by `make kernels`, or by NVRTC when missing."""

import ctypes
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...pose.heatmap import HEATMAP_STRIDE, DecodeMethod
from ...pose.spec import PoseSpec
from . import driver as cuda
from .driver import Gpu, Stream, call
from .nvrtc import KERNELS, compile_kernels

log = logging.getLogger(__name__)

FATBIN, PTX = "lehrnet.fatbin", "lehrnet_cuda12.ptx"
CROP_THREADS, DECODE_THREADS, EMA_THREADS = 128, 128, 256
EMA_CHANNELS = (1, 2, 4, 8)
"""That a group may have; kernels/attention.h."""
SHARED_BYTES = 48 << 10
"""What every GPU gives a block without being asked."""
METHODS: dict[DecodeMethod, int] = {"quarter": 0, "dark": 1, "udp": 2}
BGR = 0


class FrameRecord(ctypes.Structure):
    """`Frame` of kernels/crop.h."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("chroma", ctypes.c_uint64),
        ("stride", ctypes.c_uint64),
        ("chroma_stride", ctypes.c_uint64),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("format", ctypes.c_int32),
    )


class CropRecord(ctypes.Structure):
    """`CropSpec` of kernels/crop.h."""

    _fields_ = (
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("padding", ctypes.c_double),
        ("scale", ctypes.c_float * 3),
        ("shift", ctypes.c_float * 3),
    )

    @classmethod
    def of(cls, spec: PoseSpec) -> "CropRecord":
        """Normalization as one product and one sum: level * scale + shift."""
        std = np.array(spec.std)
        scale, shift = 1 / (255 * std), -np.array(spec.mean) / std
        return cls(*spec.input_size, spec.padding, (ctypes.c_float * 3)(*scale), (ctypes.c_float * 3)(*shift))


AFFINE_BYTES = 3 * 8
"""`Affine` of kernels/crop.h."""


def kernel_image(gpu: Gpu, folder: Path = KERNELS) -> bytes:
    """What the GPU's driver takes: a fatbin of CUDA 13's, PTX for CUDA 12; where that is missing, what NVRTC makes now.

    FileNotFoundError where there is neither.
    """
    path = folder / (FATBIN if int(gpu.driver.partition(".")[0]) >= 13 else PTX)
    return read_or_compile(path, f"sm_{gpu.compute_capability.replace('.', '')}")


def read_or_compile(path: Path, architecture: str) -> bytes:
    """Kernels that were compiled before, or what NVRTC makes for an architecture; FileNotFoundError without either."""
    if path.is_file():
        return path.read_bytes() + b"\0"  # PTX is a string of C
    try:
        image = compile_kernels(architecture)
    except ImportError as error:
        raise FileNotFoundError(
            f"no CUDA kernels at {path}: `make kernels` compiles them, with nvcc ({error})"
        ) from error
    log.info("no %s: kernels compiled for %s by NVRTC", path.name, architecture)
    return image


class Kernels:
    """The loaded kernels. Pointers are device addresses; all of it is enqueued on the stream given."""

    def __init__(self, image: bytes) -> None:
        self._library = call(cuda.driver.cuLibraryLoadData, image, None, None, 0, None, None, 0)
        self._loaded: dict[str, Any] = {}

    def crop(
        self, stream: Stream, most: int, spec: CropRecord, *, inputs: Sequence[int], crops: int, affines: int
    ) -> None:
        """Crops of up to `most` people. `inputs`: frames, the frame of each person, boxes, and how many people."""
        blocks = -(-spec.height * spec.width // CROP_THREADS)
        arguments = [*map(ctypes.c_uint64, inputs), spec, ctypes.c_uint64(crops), ctypes.c_uint64(affines)]
        self._launch("lehrnet_crop_fp32", (blocks, most), CROP_THREADS, stream.handle, arguments)

    def decode(
        self, stream: Stream, most: int, spec: PoseSpec, *, heatmaps: int, affines: int, people: int, keypoints: int
    ) -> None:
        """Keypoints (people, K, 3) of the heatmaps of up to `most` people."""
        height, width = spec.input_size
        numbers = (height // HEATMAP_STRIDE, width // HEATMAP_STRIDE, METHODS[spec.decode])
        pointers = (heatmaps, 0, 0, affines, people)
        arguments = [*_pointers(pointers), *map(ctypes.c_int32, numbers), *_pointers([keypoints])]
        self._launch("lehrnet_decode", (len(spec.skeleton), most), DECODE_THREADS, stream.handle, arguments)

    def ema(
        self,
        stream: int,
        shape: tuple[int, int, int, int],
        groups: int,
        eps: float,
        *,
        pointers: Sequence[int],
        out: int,
        half: bool,
        channels_last: bool,
    ) -> None:
        """EMA of maps (N, C, H, W): `pointers` to the maps, to a shortcut or 0, and to FrozenEMA's group weights."""
        people, channels, height, width = shape
        shared = ema_bytes(channels // groups, height, width)
        bits = ctypes.c_int32.from_buffer_copy(ctypes.c_float(eps))
        numbers = (channels // groups, height, width, int(channels_last))
        arguments = [*_pointers(pointers), *map(ctypes.c_int32, numbers), bits, *_pointers([out])]
        name = "lehrnet_ema_fp16" if half else "lehrnet_ema_fp32"
        self._launch(name, (groups, people), EMA_THREADS, stream, arguments, shared=shared)

    def close(self) -> None:
        """Unload them; more than once is fine."""
        if self._library is not None:
            call(cuda.driver.cuLibraryUnload, self._library)
        self._library = None
        self._loaded.clear()

    def _launch(
        self, name: str, grid: tuple[int, int], threads: int, stream: int, arguments: Sequence[Any], *, shared: int = 0
    ) -> None:
        """Launch by the addresses of the arguments, as CUDA's own interface has it; CUDA copies them."""
        if name not in self._loaded:
            self._loaded[name] = call(cuda.driver.cuLibraryGetKernel, self._library, name.encode())
        addresses = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(argument) for argument in arguments))
        address = ctypes.addressof(addresses)
        kernel = int(self._loaded[name])
        call(cuda.driver.cuLaunchKernel, kernel, *grid, 1, threads, 1, 1, shared, stream, address, 0)


def ema_bytes(channels: int, height: int, width: int) -> int:
    """Shared memory of a group of so many channels; ValueError for maps that the kernel does not take."""
    size = 4 * channels * (height * width + 2 * (height + width))
    if channels not in EMA_CHANNELS or size > SHARED_BYTES - (2 << 10):  # 2 KiB are the block's own
        raise ValueError(
            f"the EMA kernel takes groups of {EMA_CHANNELS} channels in {SHARED_BYTES} bytes, not {channels} of "
            f"{height}x{width} cells: use the form without it"
        )
    return size


def _pointers(addresses: Sequence[int]) -> list[ctypes.c_uint64]:
    return [ctypes.c_uint64(address) for address in addresses]

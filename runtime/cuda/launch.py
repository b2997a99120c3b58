"""The CUDA kernels of `runtime/kernels`: compiled ahead of time by `make kernels`, or by NVRTC when missing."""

import ctypes
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...pose.frame import cell_line, crop_line
from ...pose.heatmap import FRAMES, DecodeMethod
from ...pose.spec import PoseSpec
from . import driver as cuda
from .driver import Gpu, Stream, call
from .nvrtc import KERNELS, compile_kernels

log = logging.getLogger(__name__)

FATBIN, PTX = "lehrnet.fatbin", "lehrnet_cuda12.ptx"
CROP_THREADS, DECODE_THREADS, EMA_THREADS = 128, 128, 256
EMA_CHANNELS = (1, 2, 4, 8)
"""Supported channels per group, as in kernels/attention.h."""
SHARED_BYTES = 48 << 10
"""Shared memory that a block gets on every GPU without opting in for more."""
METHODS: dict[DecodeMethod, int] = {"quarter": 0, "dark": 1, "udp": 2}
BGR = 0


class FrameRecord(ctypes.Structure):
    """The struct `Frame` of kernels/crop.h."""

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
    """The struct `CropSpec` of kernels/crop.h."""

    _fields_ = (
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("padding", ctypes.c_double),
        *((name, ctypes.c_double) for name in ("stretch_x", "stretch_y", "middle_x", "middle_y", "to_pixels")),
        ("scale", ctypes.c_float * 3),
        ("shift", ctypes.c_float * 3),
    )

    @classmethod
    def of(cls, spec: PoseSpec) -> "CropRecord":
        """From a pose spec; normalization becomes one multiply-add: level * scale + shift."""
        std, line = np.array(spec.std), crop_line(spec)
        scale, shift = 1 / (255 * std), -np.array(spec.mean) / std
        frame = (*line.stretch, *line.middle, line.shift)
        return cls(*spec.input_size, spec.padding, *frame, (ctypes.c_float * 3)(*scale), (ctypes.c_float * 3)(*shift))


class DecodeRecord(ctypes.Structure):
    """The struct `DecodeSpec` of kernels/decode.h."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("height", "width", "method", "frame")),
        *((name, ctypes.c_float) for name in ("factor_x", "factor_y", "offset")),
    )

    @classmethod
    def of(cls, spec: PoseSpec) -> "DecodeRecord":
        """From a pose spec."""
        line = cell_line(spec)
        return cls(*spec.grid, METHODS[spec.decode], FRAMES.index(spec.frame), *line.factor, line.offset)


AFFINE_BYTES = 4 * 8
"""The struct `Affine` of kernels/crop.h."""


def kernel_image(gpu: Gpu, folder: Path = KERNELS) -> bytes:
    """The kernels for a GPU: a fatbin for drivers of CUDA 13, PTX for CUDA 12; compiled now by NVRTC if missing.

    FileNotFoundError if there is neither file nor NVRTC.
    """
    path = folder / (FATBIN if int(gpu.driver.partition(".")[0]) >= 13 else PTX)
    return read_or_compile(path, f"sm_{gpu.compute_capability.replace('.', '')}")


def read_or_compile(path: Path, architecture: str) -> bytes:
    """Read compiled kernels, or compile them by NVRTC for an architecture; FileNotFoundError if neither works."""
    if path.is_file():
        return path.read_bytes() + b"\0"  # CUDA expects PTX as a zero-terminated string
    try:
        image = compile_kernels(architecture)
    except ImportError as error:
        raise FileNotFoundError(
            f"no CUDA kernels at {path}: `make kernels` compiles them, with nvcc ({error})"
        ) from error
    log.info("no %s: kernels compiled for %s by NVRTC", path.name, architecture)
    return image


class Kernels:
    """The loaded CUDA kernels. Pointers are device addresses; each method enqueues a launch on the given stream."""

    def __init__(self, image: bytes) -> None:
        self._library = call(cuda.driver.cuLibraryLoadData, image, None, None, 0, None, None, 0)
        self._loaded: dict[str, Any] = {}

    def crop(
        self, stream: Stream, most: int, spec: CropRecord, *, inputs: Sequence[int], crops: int, affines: int
    ) -> None:
        """Crop up to `most` people. `inputs`: frame records, frame index of each person, boxes, number of people."""
        blocks = -(-spec.height * spec.width // CROP_THREADS)
        arguments = [*map(ctypes.c_uint64, inputs), spec, ctypes.c_uint64(crops), ctypes.c_uint64(affines)]
        self._launch("lehrnet_crop_fp32", (blocks, most), CROP_THREADS, stream.handle, arguments)

    def decode(
        self, stream: Stream, most: int, spec: PoseSpec, *, heatmaps: int, affines: int, people: int, keypoints: int
    ) -> None:
        """Decode the heatmaps of up to `most` people to keypoints (people, K, 3)."""
        pointers = (heatmaps, 0, 0, affines, people)
        arguments = [*_pointers(pointers), DecodeRecord.of(spec), *_pointers([keypoints])]
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
        """EMA of maps (N, C, H, W). `pointers`: the maps, the shortcut or 0, and FrozenEMA's group weights."""
        people, channels, height, width = shape
        shared = ema_bytes(channels // groups, height, width)
        bits = ctypes.c_int32.from_buffer_copy(ctypes.c_float(eps))
        numbers = (channels // groups, height, width, int(channels_last))
        arguments = [*_pointers(pointers), *map(ctypes.c_int32, numbers), bits, *_pointers([out])]
        name = "lehrnet_ema_fp16" if half else "lehrnet_ema_fp32"
        self._launch(name, (groups, people), EMA_THREADS, stream, arguments, shared=shared)

    def close(self) -> None:
        """Unload the kernels; may be called more than once."""
        if self._library is not None:
            call(cuda.driver.cuLibraryUnload, self._library)
        self._library = None
        self._loaded.clear()

    def _launch(
        self, name: str, grid: tuple[int, int], threads: int, stream: int, arguments: Sequence[Any], *, shared: int = 0
    ) -> None:
        """Launch a kernel; arguments are passed by address, and CUDA copies them."""
        if name not in self._loaded:
            self._loaded[name] = call(cuda.driver.cuLibraryGetKernel, self._library, name.encode())
        addresses = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(argument) for argument in arguments))
        address = ctypes.addressof(addresses)
        kernel = int(self._loaded[name])
        call(cuda.driver.cuLaunchKernel, kernel, *grid, 1, threads, 1, 1, shared, stream, address, 0)


def ema_bytes(channels: int, height: int, width: int) -> int:
    """Bytes of shared memory for a group of `channels` maps; ValueError for sizes that the kernel does not support."""
    size = 4 * channels * (height * width + 2 * (height + width))
    if channels not in EMA_CHANNELS or size > SHARED_BYTES - (2 << 10):  # 2 KiB of static shared memory
        raise ValueError(
            f"the EMA kernel supports groups of {EMA_CHANNELS} channels in {SHARED_BYTES} bytes, not {channels} of "
            f"{height}x{width} cells: use the form without it"
        )
    return size


def _pointers(addresses: Sequence[int]) -> list[ctypes.c_uint64]:
    return [ctypes.c_uint64(address) for address in addresses]

"""The CUDA kernels of `runtime/kernels`, loaded from the fatbin that nvcc made ahead of time (`make kernels`)."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..pose.heatmap import DecodeMethod
from ..pose.spec import PoseSpec
from . import cuda
from .cuda import Stream, call

FATBIN = Path(__file__).with_name("kernels") / "lehrnet.fatbin"
CROP_THREADS, DECODE_THREADS = 128, 128
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
        """Normalisation as one product and one sum: level * scale + shift."""
        std = np.array(spec.std)
        scale, shift = 1 / (255 * std), -np.array(spec.mean) / std
        return cls(*spec.input_size, spec.padding, (ctypes.c_float * 3)(*scale), (ctypes.c_float * 3)(*shift))


AFFINE_BYTES = 3 * 8
"""`Affine` of kernels/crop.h."""


class Kernels:
    """The loaded kernels. Pointers are device addresses; all of it is enqueued on the stream given."""

    def __init__(self, fatbin: Path = FATBIN) -> None:
        if not fatbin.is_file():
            raise FileNotFoundError(f"no CUDA kernels at {fatbin}: `make kernels` compiles them, with nvcc")
        image = fatbin.read_bytes()
        self._library = call(cuda.cudart.cudaLibraryLoadData, image, None, None, 0, None, None, 0)
        self._crop = call(cuda.cudart.cudaLibraryGetKernel, self._library, b"lehrnet_crop_fp32")
        self._decode = call(cuda.cudart.cudaLibraryGetKernel, self._library, b"lehrnet_decode")

    def crop(
        self, stream: Stream, most: int, spec: CropRecord, *, inputs: Sequence[int], crops: int, affines: int
    ) -> None:
        """Crops of up to `most` people. `inputs`: frames, the frame of each person, boxes, and how many people."""
        blocks = -(-spec.height * spec.width // CROP_THREADS)
        arguments = [*map(ctypes.c_uint64, inputs), spec, ctypes.c_uint64(crops), ctypes.c_uint64(affines)]
        _launch(self._crop, (blocks, most, 1), CROP_THREADS, stream, arguments)

    def decode(
        self, stream: Stream, most: int, spec: PoseSpec, *, heatmaps: int, affines: int, people: int, keypoints: int
    ) -> None:
        """Keypoints (people, K, 3) of the heatmaps of up to `most` people."""
        height, width = spec.input_size
        numbers = (height // 4, width // 4, METHODS[spec.decode])
        nothing = ctypes.c_uint64(0)
        pointers = (ctypes.c_uint64(heatmaps), nothing, nothing, ctypes.c_uint64(affines), ctypes.c_uint64(people))
        arguments = [*pointers, *map(ctypes.c_int32, numbers), ctypes.c_uint64(keypoints)]
        _launch(self._decode, (len(spec.joints), most, 1), DECODE_THREADS, stream, arguments)

    def close(self) -> None:
        if self._library is not None:
            call(cuda.cudart.cudaLibraryUnload, self._library)
        self._library = None


def _launch(kernel: Any, grid: tuple[int, int, int], threads: int, stream: Stream, arguments: Sequence[Any]) -> None:
    """Launch by the addresses of the arguments, as CUDA's own interface has it; CUDA copies them."""
    addresses = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(argument) for argument in arguments))
    place = ctypes.addressof(addresses)
    call(cuda.driver.cuLaunchKernel, int(kernel), *grid, threads, 1, 1, 0, stream.handle, place, 0)

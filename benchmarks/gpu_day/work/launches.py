"""Launch crop, decode and EMA at small sizes, through the driver alone: PyTorch would slow a sanitizer down."""

import argparse
import ctypes
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....pose.spec import PoseSpec
from ....runtime.cuda.driver import HostDeviceBuffer, Stream, describe_gpu
from ....runtime.cuda.launch import AFFINE_BYTES, BGR, CropRecord, FrameRecord, Kernels, kernel_image

SPEC = PoseSpec(input_size=(64, 64))
PEOPLE, FRAME = 3, (90, 120)
EPS = 1e-5
EMA_SIZES = ((32, (16, 16)), (64, (8, 6)), (256, (4, 3)))
"""Channels and grid, in GROUPS groups."""
GROUPS = 32


class DryKernels(Kernels):
    """Kernels that note their launches, with arguments and grid made as for a GPU."""

    def __init__(self) -> None:
        self.launched: list[str] = []
        self._library = None

    def _launch(
        self, name: str, grid: tuple[int, int], threads: int, stream: int, arguments: Any, *, shared: int = 0
    ) -> None:
        del stream
        addresses = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(argument) for argument in arguments))
        assert addresses
        self.launched.append(f"{name}[{grid[0]},{grid[1]}]x{threads}+{shared}")


class HostBuffer:
    """A stand-in for `HostDeviceBuffer` on the host."""

    def __init__(self, shape: tuple[int, ...], dtype: Any = np.float32) -> None:
        self.host: NDArray[Any] = np.zeros(shape, dtype)
        self.address = self.host.ctypes.data

    def upload(self, rows: int, stream: Any) -> None:
        del rows, stream

    download = upload


@dataclass
class Ground:
    """Kernels, a stream and memory: the GPU's, or stand-ins."""

    kernels: Kernels
    stream: Any
    buffer: Any
    kept: list[Any] = field(default_factory=list)
    """Memory stays until the end: launches are not waited for."""

    def made(self, array: NDArray[Any]) -> Any:
        """A buffer with an array's content, uploaded."""
        buffer = self.buffer(array.shape, array.dtype)
        buffer.host[:] = array
        buffer.upload(len(array), self.stream)
        self.kept.append(buffer)
        return buffer


def launch_all(ground: Ground) -> list[NDArray[Any]]:
    """Crop, decode and EMA; returns crops, keypoints and maps as they come down."""
    rng = np.random.default_rng(0)
    people = ground.made(np.array([PEOPLE], np.int32))
    crops, affines = _crop(ground, rng, people)
    keypoints = _decode(ground, rng, people, affines)
    maps = [_ema(ground, rng, channels, grid, last) for channels, grid in EMA_SIZES for last in (False, True)]
    found = [crops, keypoints, *maps]
    for buffer in found:
        buffer.download(len(buffer.host), ground.stream)
    if hasattr(ground.stream, "synchronize"):
        ground.stream.synchronize()
    return [buffer.host for buffer in found]


def _crop(ground: Ground, rng: np.random.Generator, people: Any) -> tuple[Any, Any]:
    pixels = ground.made(rng.integers(0, 256, (*FRAME, 3), dtype=np.uint8))
    record = FrameRecord(pixels.address, 0, 3 * FRAME[1], 0, FRAME[1], FRAME[0], BGR)
    frames = ground.made(np.frombuffer(bytes(record), np.uint8)[None].copy())
    frame_of = ground.made(np.zeros(PEOPLE, np.int32))
    boxes = ground.made(np.array([[10, 5, 60, 84], [-20, -8, 90, 110], [5, 5, 62, 60]], np.float32))
    crops = ground.made(np.zeros((PEOPLE, 3, *SPEC.input_size), np.float32))
    affines = ground.made(np.zeros((PEOPLE, AFFINE_BYTES), np.uint8))
    inputs = (frames.address, frame_of.address, boxes.address, people.address)
    ground.kernels.crop(
        ground.stream, PEOPLE, CropRecord.of(SPEC), inputs=inputs, crops=crops.address, affines=affines.address
    )
    return crops, affines


def _decode(ground: Ground, rng: np.random.Generator, people: Any, affines: Any) -> Any:
    joints = len(SPEC.skeleton)
    heatmaps = ground.made(rng.random((PEOPLE, joints, *SPEC.grid), np.float32))
    keypoints = ground.made(np.zeros((PEOPLE, joints, 3), np.float32))
    ground.kernels.decode(
        ground.stream, PEOPLE, SPEC, heatmaps=heatmaps.address, affines=affines.address,
        people=people.address, keypoints=keypoints.address,
    )  # fmt: skip
    return keypoints


def _ema(ground: Ground, rng: np.random.Generator, channels: int, grid: tuple[int, int], last: bool) -> Any:
    width = channels // GROUPS
    shapes = ((width, width), (width,), (width, 9), (1,), (width,), (width,), (width, width * 9), (width,))
    weights = [ground.made(rng.standard_normal(shape).astype(np.float32)) for shape in shapes]
    maps, shortcut = (ground.made(rng.standard_normal((2, channels, *grid)).astype(np.float32)) for _ in range(2))
    out = ground.made(np.zeros((2, channels, *grid), np.float32))
    pointers = (maps.address, shortcut.address, *(weight.address for weight in weights))
    ground.kernels.ema(
        ground.stream.handle, (2, channels, *grid), GROUPS, EPS, pointers=pointers, out=out.address,
        half=False, channels_last=last,
    )  # fmt: skip
    return out


def main(arguments: list[str] | None = None) -> int:
    """Launch on the GPU, or note the launches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stand-in", action="store_true")
    if parser.parse_args(arguments).stand_in:
        kernels = DryKernels()
        launch_all(Ground(kernels, _NoStream(), HostBuffer))
        print("\n".join(kernels.launched))
        return 0
    launch_all(Ground(Kernels(kernel_image(describe_gpu(0))), Stream(), HostDeviceBuffer))
    print("launched")
    return 0


class _NoStream:
    handle = 0


if __name__ == "__main__":
    sys.exit(main())

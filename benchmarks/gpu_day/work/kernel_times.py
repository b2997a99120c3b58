"""EMA, crop and decode: microseconds of a launch beside a copy that moves the same bytes."""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....model.ema import EMA
from ....model.forms.attention import FrozenEMA, group_weights
from ....pose.spec import PoseSpec
from ....runtime.cuda.launch import AFFINE_BYTES, BGR, CropRecord, FrameRecord
from ....runtime.pytorch.operators import launch_ema, loaded_kernels
from .job import PEOPLE_AT_ONCE, Job
from .launches import DryKernels
from .place import Place, place_of, spec_of

BRANCHES = ((32, 4), (64, 8), (128, 16), (256, 32))
"""Channels of a branch, and px of the crop that its cell has."""
GROUPS = 32
COPIED = 1 << 30
"""Bytes of the copy that gives the memory's rate: far more than any cache."""
FRAME = (1080, 1920)
BOX = (200, 150)
"""Height and width of a person in the frame, px."""


def work(job: Job) -> None:
    """Keep the rate of copies, and times by kernel, width and batch."""
    place = place_of(job)
    measure(job, place, DryKernels() if job.stand_in else loaded_kernels(0))


def measure(job: Job, place: Place, kernels: Any) -> None:
    """Measure on a place with loaded kernels."""
    spec, batches = spec_of(job), (1, 2) if job.stand_in else PEOPLE_AT_ONCE
    size = 1 << 20 if job.stand_in else COPIED
    milliseconds = _copy_of(place, size)
    bench = Bench(place, kernels, size / milliseconds / 1e6)
    job.keep(copy_gb_per_s=round(bench.gb_per_s, 1), input_size=list(spec.input_size), channels_last=True)
    found: dict[str, dict[str, dict[str, dict[str, float]]]] = {"ema": {}, "crop": {}, "decode": {}}
    for number in (place.number,) if job.stand_in else (torch.float16, torch.float32):
        for channels, stride in BRANCHES:
            name = f"{channels} channels, {str(number).removeprefix('torch.')}"
            found["ema"][name] = {
                str(batch): _timed_ema(bench, (batch, channels, *_grid(spec, stride)), number) for batch in batches
            }
            job.keep(kernels=found)
    for name, timed in (("crop", _timed_crop), ("decode", _timed_decode)):
        found[name]["float32"] = {str(batch): timed(bench, spec, batch) for batch in batches}
        job.keep(kernels=found)


def _grid(spec: PoseSpec, stride: int) -> tuple[int, int]:
    height, width = spec.input_size
    return height // stride, width // stride


def _copy_of(place: Place, size: int) -> float:
    """Milliseconds of a copy that reads half of `size` bytes and writes the other half."""
    source = torch.zeros(max(1, size // 2), dtype=torch.uint8, device=place.device)
    target = torch.empty_like(source)
    return place.per_call(lambda _: target.copy_(source))


@dataclass(frozen=True)
class Bench:
    """Where and what is launched, and how fast memory is copied."""

    place: Place
    kernels: Any
    gb_per_s: float
    """Of a copy far larger than any cache."""


def _beside_a_copy(bench: Bench, run: Callable[[int], object], size: int) -> dict[str, float]:
    """Microseconds of a launch that moves `size` bytes, beside a copy of as many and beside the memory's rate.

    What fits into a cache may be faster than the memory's rate; a copy of the same size is so, too.
    """
    place = bench.place
    kernel, copy = 1e3 * place.per_call(run), 1e3 * _copy_of(place, size)
    return {
        "microseconds": round(kernel, 3),
        "bytes": size,
        "copy_microseconds": round(copy, 3),
        "over_copy": round(kernel / copy, 3),
        "over_bandwidth": round(kernel / (size / bench.gb_per_s / 1e3), 3),
    }


def _timed_ema(bench: Bench, shape: tuple[int, int, int, int], number: torch.dtype) -> dict[str, float]:
    """A unit's whole EMA with shortcut and ReLU, channels last: reads two maps, writes one."""
    place = bench.place
    torch.manual_seed(0)
    module = EMA(shape[1], GROUPS)
    weights = [weight.to(place.device) for weight in group_weights(FrozenEMA(module, shape[2:])).values()]

    def made() -> Tensor:
        maps = torch.randn(shape, device=place.device).to(number)
        return maps.contiguous(memory_format=torch.channels_last)

    maps, shortcut = made(), made()

    def run(stream: int) -> object:
        return launch_ema(bench.kernels, stream, maps, shortcut, weights, groups=GROUPS, eps=module.norm.eps)

    return _beside_a_copy(bench, run, 3 * maps.nbytes)


def _timed_crop(bench: Bench, spec: PoseSpec, batch: int) -> dict[str, float]:
    """People of one size in a 1080p frame: reads their pixels in the padded box, writes crops."""
    place, kernels, rng = bench.place, bench.kernels, np.random.default_rng(0)
    height, width = FRAME
    pixels = torch.from_numpy(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).to(place.device)
    record = FrameRecord(pixels.data_ptr(), 0, 3 * width, 0, width, height, BGR)
    frames = torch.frombuffer(bytearray(bytes(record)), dtype=torch.uint8).to(place.device)
    corners = rng.uniform((100, 100), (width - 400, height - 400), (batch, 2))
    boxes = torch.from_numpy(np.concatenate((corners, corners + BOX[::-1]), 1).astype(np.float32)).to(place.device)
    frame_of, people = _whole_numbers(place, [0] * batch), _whole_numbers(place, [batch])
    crops = torch.empty(batch, 3, *spec.input_size, device=place.device)
    affines = torch.empty(batch, AFFINE_BYTES, dtype=torch.uint8, device=place.device)
    inputs = [part.data_ptr() for part in (frames, frame_of, boxes, people)]
    crop, addresses = CropRecord.of(spec), (crops.data_ptr(), affines.data_ptr())

    def run(stream: int) -> object:
        of = SimpleNamespace(handle=stream)
        return kernels.crop(of, batch, crop, inputs=inputs, crops=addresses[0], affines=addresses[1])

    read = int(3 * batch * BOX[0] * BOX[1] * spec.padding**2)
    found = _beside_a_copy(bench, run, crops.nbytes + read)
    del pixels
    return found


def _timed_decode(bench: Bench, spec: PoseSpec, batch: int) -> dict[str, float]:
    """Reads heatmaps, writes three numbers for each joint."""
    place, kernels, joints = bench.place, bench.kernels, len(spec.skeleton)
    heatmaps = torch.rand(batch, joints, *spec.grid, device=place.device)
    affines = torch.ones(batch, AFFINE_BYTES // 8, dtype=torch.float64, device=place.device)
    people = _whole_numbers(place, [batch])
    keypoints = torch.empty(batch, joints, 3, device=place.device)
    names = ("heatmaps", "affines", "people", "keypoints")
    addresses = {
        name: part.data_ptr() for name, part in zip(names, (heatmaps, affines, people, keypoints), strict=True)
    }

    def run(stream: int) -> object:
        return kernels.decode(SimpleNamespace(handle=stream), batch, spec, **addresses)

    return _beside_a_copy(bench, run, heatmaps.nbytes + keypoints.nbytes)


def _whole_numbers(place: Place, numbers: Sequence[int]) -> Tensor:
    assert ctypes.sizeof(ctypes.c_int32) == torch.int32.itemsize
    return torch.tensor(numbers, dtype=torch.int32, device=place.device)

"""Our CPU engine by itself, for measuring and for tests: any artefact at any size, by any set of instructions.

`runtime/embed/tests/native_door.cpp` is the other side; products reach the engine by `liblehrnet` and a bundle.
"""

import ctypes
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..model.grids import Grid
from ..runtime.backends.library import StepTime

MOST_STEPS, LONGEST_NAME = 4096, 64
BUILD = "cmake -S runtime/embed --preset native -G Ninja && cmake --build build/embed/native --target native_door"
BUILT = Path(__file__).resolve().parents[1] / "build" / "embed" / "native" / "libnative_door.so"


@dataclass(frozen=True)
class IntegerOperator:
    """A 3x3 operator in INT8, dense or an LConv, as docs/native-format.md has it."""

    weight: NDArray[np.int8]
    """(N, C, 3, 3), or (N, C) of an LConv's pointwise conv."""
    factors: NDArray[np.float32]
    bias: NDArray[np.float32]
    steps: tuple[float, float]
    """What steps of the input and of a partial conv's output are worth."""
    partial: NDArray[np.int8] | None = None
    """(C/4, C/4, 3, 3); None: dense."""
    partial_factors: NDArray[np.float32] | None = None
    stride: int = 1


class Door:
    """The library."""

    def __init__(self, path: Path = BUILT) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"no {path}; build it: {BUILD}")
        self.library = ctypes.CDLL(str(path))
        self.library.native_words.restype = ctypes.c_char_p
        self.library.native_open.restype = ctypes.c_void_p
        self.library.native_peak.restype = ctypes.c_double

    def words(self) -> str:
        """What was said last."""
        return self.library.native_words().decode()

    def instructions(self) -> list[str]:
        """The sets of instructions that this machine has, the best first."""
        self.library.native_instructions()
        return self.words().split()

    def run_operator(
        self, operator: IntegerOperator, maps: NDArray[np.float32], instructions: str
    ) -> NDArray[np.float32]:
        """Maps (N, H, W, out) of maps (N, H, W, in) that are never below 0, by the engine's kernels alone."""
        people, height, width, channels = maps.shape
        outputs, stride = len(operator.weight), operator.stride
        sizes = np.array([people, height, width, channels, outputs, stride], np.int32)
        found = np.full((people, height // stride, width // stride, outputs), np.nan, np.float32)
        arrays = (operator.weight, operator.factors, operator.partial, operator.partial_factors, operator.bias)
        kept = [None if array is None else np.ascontiguousarray(array) for array in arrays]
        steps = np.array(operator.steps, np.float32)
        self.library.native_operator(
            instructions.encode(),
            _pointer(sizes),
            *(None if array is None else _pointer(array) for array in kept),
            *(_pointer(steps), _pointer(_contiguous(maps)), _pointer(found)),
        )
        return found

    def peak(self, instructions: str, rounds: int) -> float:
        """Multiply-adds a second that a core reaches: the most of some rounds."""
        return self.library.native_peak(instructions.encode(), rounds)


class DoorEngine:
    """One network for crops of one size; ValueError says why it was not opened."""

    def __init__(
        self, door: Door, content: bytes, size: Grid, instructions: str, *, max_batch: int = 1, threads: int = 1
    ) -> None:
        self._library, self._size = door.library, size
        memory = np.frombuffer(content, np.uint8).copy()
        self._engine = ctypes.c_void_p(
            self._library.native_open(
                ctypes.c_void_p(memory.ctypes.data),
                ctypes.c_size_t(memory.size),
                *(size[0], size[1], max_batch, threads, instructions.encode()),
            )
        )
        if not self._engine:
            raise ValueError(door.words())
        self._joints = int.from_bytes(content[24:28], "little")
        self._max_batch = max_batch

    def run(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        """Heatmaps (N, K, H/4, W/4) of crops (N, 3, H, W)."""
        heatmaps = self._heatmaps(len(crops))
        for first in range(0, len(crops), self._max_batch):
            batch = _contiguous(crops[first : first + self._max_batch])
            self._library.native_run(self._engine, _pointer(batch), len(batch), _pointer(heatmaps[first:]))
        return heatmaps

    def time_steps(self, crop: NDArray[np.float32], rounds: int) -> list[StepTime]:
        """The least time of every step of a run on one thread, of some rounds."""
        names = (ctypes.c_char * LONGEST_NAME * MOST_STEPS)()
        counts, times = np.zeros(MOST_STEPS), np.zeros(MOST_STEPS)
        heatmaps, crop = self._heatmaps(1), _contiguous(crop)
        found = self._library.native_time(
            *(self._engine, _pointer(crop), _pointer(heatmaps), rounds, MOST_STEPS),
            *(ctypes.byref(names), _pointer(counts), _pointer(times)),
        )
        return [StepTime(names[i].value.decode(), float(counts[i]), float(times[i]) * 1e-6) for i in range(found)]

    def close(self) -> None:
        """Free its memory and end its threads."""
        self._library.native_close(self._engine)

    def _heatmaps(self, count: int) -> NDArray[np.float32]:
        return np.full((count, self._joints, self._size[0] // 4, self._size[1] // 4), np.nan, np.float32)


def _contiguous(crops: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(crops, np.float32)


def _pointer(array: NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)

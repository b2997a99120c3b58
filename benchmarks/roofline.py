"""Measured roofline of a machine: copy bandwidth by working set, and FP32 matrix rate; the best of several tries.

Williams, Waterman and Patterson: "Roofline", CACM 2009; with one bandwidth per working-set size, since the maps of a
light network fit in the caches.
"""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIZES = (1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 28)
"""Bytes of the working sets."""
VOLUME = 1 << 28
"""Bytes that are copied in each try."""
TRIES = 7
SIDE = 1024
"""Of the square matrices whose product is timed."""


@dataclass(frozen=True)
class Roofline:
    """Compute rate and bandwidths."""

    macs_per_s: float
    bytes_per_s: Mapping[int, float]
    """Bandwidth (read plus write) by working set."""

    def seconds(self, macs: float, traffic: float) -> float:
        """Lower bound of the time: max(compute time, memory time)."""
        return max(macs / self.macs_per_s, traffic / self.bandwidth(traffic))

    def bandwidth(self, traffic: float) -> float:
        """Bytes per second: the maximum over the working sets of at least `traffic` bytes, else that of the largest."""
        return max(rate for size, rate in self.bytes_per_s.items() if size >= min(traffic, max(self.bytes_per_s)))


def measure_roofline(threads: int) -> Roofline:
    """Measure copies by `threads` threads, and a matrix product by NumPy's BLAS."""
    with ThreadPoolExecutor(threads) as pool:
        rates = {size: _copy_rate(pool, threads, size) for size in SIZES}
    return Roofline(_matrix_rate(), rates)


def _copy_rate(pool: ThreadPoolExecutor, threads: int, size: int) -> float:
    """Bandwidth of threads that copy separate parts repeatedly; half of `size` is read and half written."""
    repeats = max(1, VOLUME // size)
    parts = [tuple(np.ones(size // 8 // threads, np.float32) for _ in range(2)) for _ in range(threads)]

    def copy(part: tuple[NDArray[np.float32], ...]) -> None:
        for _ in range(repeats):
            np.copyto(part[1], part[0])

    best = np.inf
    for _ in range(TRIES):
        started = time.perf_counter()
        list(pool.map(copy, parts))
        best = min(best, time.perf_counter() - started)
    return repeats * size / best


def _matrix_rate() -> float:
    square = np.ones((SIDE, SIDE), np.float32)
    product, best = np.empty_like(square), np.inf
    for _ in range(TRIES):
        started = time.perf_counter()
        np.matmul(square, square, out=product)
        best = min(best, time.perf_counter() - started)
    return SIDE**3 / best

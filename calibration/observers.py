"""Histogram observers: from the values of a tensor to the threshold at which INT8 clips it."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

BINS = 1024
LEVELS = 128  # of |x| in symmetric int8
PERCENTILE = 99.99

Method = Literal["minmax", "percentile", "entropy", "mse"]
"""minmax: the largest |x| seen. percentile: 99.99% of the values fit. entropy: least Kullback-Leibler divergence from
the original distribution (Migacz, GTC 2017). mse: least squared error of clipping and rounding."""
DEFAULT_METHOD: Method = "percentile"  # the least drift of this network: docs/decisions/0006
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass
class Observer:
    """Minimum and maximum of a tensor, and a histogram of |x| whose range doubles when a value exceeds it.

    Doubling merges pairs of bins, so the same batches always give the same counts.
    """

    low: float = float("inf")
    high: float = float("-inf")
    limit: float = 0.0
    """Upper edge of the last bin; 0 until the first non-zero value."""
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def update(self, values: NDArray[np.floating]) -> None:
        """Add a batch of values; ValueError for NaN or infinity."""
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError("values are NaN or infinite")
        self.low, self.high = min(self.low, low), max(self.high, high)
        amax = max(-low, high)
        if amax > 0 and not self.limit:
            self.limit = 2.0 ** float(np.ceil(np.log2(amax)))
        while amax > self.limit:
            self.counts = np.concatenate((self.counts.reshape(-1, 2).sum(1), np.zeros(BINS // 2, np.int64)))
            self.limit *= 2
        scale = BINS / self.limit if self.limit else 0.0
        bins = np.minimum((np.abs(values.ravel()) * scale).astype(np.int32), BINS - 1)
        self.counts += np.bincount(bins, minlength=BINS)

    @property
    def amax(self) -> float:
        """The largest |x| seen."""
        return max(-self.low, self.high, 0.0)

    def threshold(self, method: Method) -> float:
        """The clipping threshold of |x| by a calibration method; never 0."""
        if method not in METHODS:
            raise ValueError(f"calibration method is {method!r}, expected one of {', '.join(METHODS)}")
        if not self.limit:
            return 1.0  # nothing but zeros: any scale holds them
        if method == "minmax":
            return self.amax
        if method == "percentile":
            share = self.counts.cumsum() / self.counts.sum()
            bins = int(np.searchsorted(share, PERCENTILE / 100)) + 1
        else:
            bins = _entropy_bins(self.counts) if method == "entropy" else _mse_bins(self.counts)
        return min(self.amax, bins * self.limit / BINS)


def _mse_bins(counts: NDArray[np.int64]) -> int:
    """Number of bins to keep for the least squared error of clipping and rounding."""
    centres = np.arange(BINS) + 0.5
    keep = np.arange(LEVELS // 4, BINS + 1)
    steps = keep / (LEVELS - 1)
    rounding = steps**2 / 12 * counts.cumsum()[keep - 1]
    # sum over the bins beyond t of n (x - t)^2, by the tails of n, n x and n x^2
    tails = [np.append((counts * centres**power)[::-1].cumsum()[::-1], 0.0)[keep] for power in (0, 1, 2)]
    clipping = tails[2] - 2 * keep * tails[1] + keep**2 * tails[0]
    return int(keep[np.argmin(rounding + clipping)])


def _entropy_bins(counts: NDArray[np.int64]) -> int:
    """Number of bins to keep for the least Kullback-Leibler divergence of the quantized distribution (Migacz)."""
    counts = counts.copy()
    counts[0] = counts[1]  # the zeros of a ReLU fit every scale and would outweigh all other values
    best, kept = float("inf"), BINS
    for count in range(LEVELS, BINS + 1, LEVELS // 16):
        wanted = counts[:count].astype(np.float64)
        inside = wanted.copy()
        wanted[-1] += counts[count:].sum()
        edges = np.arange(count) * LEVELS // count
        filled = inside > 0
        sums, numbers = np.bincount(edges, inside, LEVELS), np.bincount(edges, filled, LEVELS)
        found = np.where(filled, (sums / np.maximum(numbers, 1))[edges], 0)
        p, q = wanted / wanted.sum(), found / max(found.sum(), 1)
        both = (p > 0) & (q > 0)
        missing = p[(p > 0) & (q == 0)].sum()
        divergence = float((p[both] * np.log(p[both] / q[both])).sum() + 10 * missing)
        if divergence < best:
            best, kept = divergence, count
    return kept

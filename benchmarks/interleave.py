"""Interleaved timing: subjects are run in turn, so that drift of the machine affects all of them equally."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Race:
    """Interleaved timings of several subjects, in ms."""

    milliseconds: dict[str, dict[str, float]]
    """p10, p50 and p90 by subject."""
    speed_up: dict[str, dict[str, float]]
    """The reference's time divided by the subject's, round by round: p10, p50 and p90."""


def by_the_clock(run: Callable[[], object]) -> float:
    """Wall-clock milliseconds of one run."""
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


def race(
    subjects: Mapping[str, Callable[[], object]],
    reference: str,
    rounds: int,
    warm_up: int = 2,
    timed: Callable[[Callable[[], object]], float] = by_the_clock,
) -> Race:
    """Run every subject once per round, for `rounds` rounds after a warm-up; `timed` measures a run in ms."""
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}, expected at least 1")
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for turn in range(-warm_up, rounds):
        for name, run in subjects.items():
            milliseconds = timed(run)
            if turn >= 0:
                times[name].append(milliseconds)
    series = {name: np.array(taken) for name, taken in times.items()}
    speed_up = {name: _summary(series[reference] / taken) for name, taken in series.items()}
    return Race({name: _summary(taken) for name, taken in series.items()}, speed_up)


def _summary(series: NDArray[np.float64]) -> dict[str, float]:
    p10, p50, p90 = np.percentile(series, (10, 50, 90))
    return {"p50": round(float(p50), 3), "p10": round(float(p10), 3), "p90": round(float(p90), 3)}

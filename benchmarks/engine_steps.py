"""Where the time of our CPU engine goes: steps by kind, and the share of the processor's peak that each reaches."""

import re
from collections.abc import Sequence
from typing import Any

from ..runtime.backends.library import StepTime
from ..runtime.backends.native import NativeSession

ROUNDS = 20
STAGE = re.compile(r"^stage[234] (?=branch|fusion)")


def measure(session: NativeSession, rounds: int = ROUNDS) -> dict[str, Any]:
    """Each kind of step for one person on one thread, by the least of its times."""
    return by_kind(*session.profile(rounds))


def by_kind(steps: Sequence[StepTime], peak: float) -> dict[str, Any]:
    """Steps summed by kind, whatever their stage; `peak` in multiply-adds a second."""
    kinds: dict[str, list[float]] = {}
    for step in steps:
        sums = kinds.setdefault(STAGE.sub("", step.name), [0.0, 0.0])
        sums[0] += step.milliseconds
        sums[1] += step.multiply_adds
    kinds["all"] = [sum(column) for column in zip(*kinds.values(), strict=True)]
    return {
        "peak_gmacs": round(peak / 1e9, 1),
        "kinds": {
            name: {
                "milliseconds": round(milliseconds, 3),
                "gmacs": round(macs / milliseconds / 1e6, 1),
                "of_peak": round(macs / milliseconds * 1e3 / peak, 3),
            }
            for name, (milliseconds, macs) in kinds.items()
        },
    }


def describe(facts: dict[str, Any]) -> str:
    """The table as text."""
    lines = [f"our engine, one person, one thread; this processor's peak is {facts['peak_gmacs']} GMAC/s in FP32"]
    lines += [
        f"  {name:22} {kind['milliseconds']:8.3f} ms {kind['gmacs']:7.1f} GMAC/s {kind['of_peak']:5.0%} of the peak"
        for name, kind in facts["kinds"].items()
    ]
    return "\n".join(lines)

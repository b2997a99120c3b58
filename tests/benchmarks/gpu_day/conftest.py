import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lehrnet.benchmarks.gpu_day.runner import Day, Start
from lehrnet.benchmarks.gpu_day.steps import Step
from lehrnet.tests.runtime.conftest import fake_cuda, kernels, stand_ins

__all__ = ["fake_cuda", "kernels", "stand_ins"]

RESULT = '{{"format": "lehrnet-result-1", "machine": {{"commit": "x"}}, "stand_in": false, "figure": {}}}'


@pytest.fixture
def day(tmp_path: Path) -> Day:
    return Day(tmp_path / "out", tmp_path / "work", seconds=60)


def step(name: str, worth: int = 1, limit_s: float = 30, **facts) -> Step:
    return Step(name, f"what {name} does", "none", worth, limit_s, least_s=1, **facts)


def scripts(**texts: str) -> Start:
    """Steps that run a Python text each, with `out`, `scratch` and `keep(figure)` at hand."""

    def start(step: Step, out: Path, scratch: Path, seconds: float) -> list[str]:
        begin = (
            f"import os, signal, subprocess, sys, time, pathlib\nout = pathlib.Path({str(out)!r})\n"
            f"scratch = pathlib.Path({str(scratch)!r}); scratch.mkdir(exist_ok=True)\n"
            f"keep = lambda figure: out.write_text({RESULT!r}.format(figure))\n"
        )
        return [sys.executable, "-c", begin + texts[step.name]]

    return start


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """Whether a process runs."""

    def told(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
        except OSError:
            return False

    return told

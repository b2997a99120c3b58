"""The whole day on this machine, without a GPU: no step may die of an import, a path or an argument."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")

from lehrnet.benchmarks.gpu_day.pack_results import LARGEST_FILE, MOST_FILES
from lehrnet.benchmarks.gpu_day.states import RESULTS, read_results
from lehrnet.benchmarks.gpu_day.steps import STEPS

WANTED = {
    "tests": ("verdicts", "counts"),
    "kernels": ("copy_gb_per_s", "kernels"),
    "forms": ("by_batch", "forms_by_batch"),
    "pipeline": ("by_frames",),
    "sanitize": ("launches",),
    "speed": ("people_per_s",),
    "compiled": ("compiled_by_batch",),
    "train": ("people", "place", "held_out_ap"),
}
"""What each step leaves; build needs nvcc, and others the export's packages."""


def run(*arguments: str, out: Path, work: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lehrnet.benchmarks.gpu_day", "--rehearse", "--out", str(out), "--work", str(work)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment, check=False)


SHORT = ("build", "tests", "kernels", "sanitize", "others", "compiled")
LONG = tuple(step.name for step in STEPS if step.name not in SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("names", [SHORT, LONG], ids=["short", "long"])
def test_every_step_runs_on_stand_ins(names: tuple[str, ...], tmp_path: Path) -> None:
    done = run("--only", ",".join(names), out=tmp_path / "out", work=tmp_path / "work")
    assert done.returncode == 0, done.stdout + done.stderr
    steps = read_results(tmp_path / "out" / RESULTS)["steps"]
    assert steps.keys() == set(names)
    allowed = {"build": ("done", "absent"), "others": ("done", "absent")}
    for name, record in steps.items():
        assert record["state"] in allowed.get(name, ("done",)), (name, record["why"])
        for key in WANTED.get(name, ()):
            assert record["result"][key], (name, key)
        assert record["result"]["stand_in"] is True
    files = list((tmp_path / "out").iterdir())
    assert len(files) <= MOST_FILES
    assert all(path.stat().st_size <= LARGEST_FILE for path in files)
    assert {RESULTS, "logs.zip", *(["last.safetensors"] if "train" in names else [])} <= {path.name for path in files}


def test_the_two_halves_of_the_rehearsal_are_all_steps() -> None:
    assert {*SHORT, *LONG} == {step.name for step in STEPS}

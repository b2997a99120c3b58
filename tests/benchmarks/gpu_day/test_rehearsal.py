"""The whole day on this machine, without a GPU: no step may die of an import, a path or an argument."""

import json
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


@pytest.mark.slow
def test_every_step_runs_on_stand_ins(tmp_path: Path) -> None:
    done = run(out=tmp_path / "out", work=tmp_path / "work")
    assert done.returncode == 0, done.stdout + done.stderr
    steps = read_results(tmp_path / "out" / RESULTS)["steps"]
    assert steps.keys() == {step.name for step in STEPS}
    allowed = {"build": ("done", "absent"), "others": ("done", "absent")}
    for name, record in steps.items():
        assert record["state"] in allowed.get(name, ("done",)), (name, record["why"])
        for key in WANTED.get(name, ()):
            assert record["result"][key], (name, key)
        assert record["result"]["stand_in"] is True
    files = list((tmp_path / "out").iterdir())
    assert len(files) <= MOST_FILES
    assert all(path.stat().st_size <= LARGEST_FILE for path in files)
    assert {"last.safetensors", RESULTS, "logs.zip"} <= {path.name for path in files}
    said = run(out=tmp_path / "out", work=tmp_path / "work").stdout.splitlines()
    assert len(said) == len(STEPS)
    assert all(line.endswith("in an earlier call") for line in said)


@pytest.mark.slow
def test_training_goes_on_from_its_state_and_on_a_fresh_machine_from_the_weights(tmp_path: Path) -> None:
    def train(work: Path, *arguments: str) -> dict:
        done = run("--only", "train", *arguments, out=tmp_path / "out", work=work)
        assert done.returncode == 0, done.stdout + done.stderr
        return read_results(tmp_path / "out" / RESULTS)["steps"]["train"]["result"]

    first = train(tmp_path / "work")
    assert "went_on_from" not in first
    step = first["place"]["step"]
    assert train(tmp_path / "work")["went_on_from"] == f"state, step {step}"
    carried = tmp_path / "carried"
    carried.mkdir()
    (tmp_path / "out").rename(carried / "earlier")
    (carried / "commit").write_text("0123456789ab\n")
    results = json.loads((carried / "earlier" / RESULTS).read_text())
    place = results["gpu_day"]["steps"]["train"]["result"]["place"]
    place["step"] -= 1  # so that a step is left to take
    (carried / "earlier" / RESULTS).write_text(json.dumps(results))
    fresh = train(tmp_path / "fresh", "--carry", str(carried))
    assert fresh["went_on_from"] == f"averaged weights, step {step - 1}: the optimizer began anew"
    assert fresh["place"]["step"] == step
    assert fresh["place"]["elapsed_s"] > place["elapsed_s"]

"""SIGKILL at random moments: what stands there is whole, the next run succeeds, and nothing half written stays."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lehrnet.model.checkpoint import load_checkpoint
from lehrnet.pose.coco import read_coco
from lehrnet.pose.spec import PoseSpec
from lehrnet.pose.synthetic import write_synthetic
from lehrnet.training.pack import read_pack, write_pack
from lehrnet.training.state import read_state
from lehrnet.training.trainer import BEST, LAST, LOG, STATE

JOB = [sys.executable, str(Path(__file__).with_name("killed.py"))]
MANY = int(os.environ.get("LEHRNET_KILLS", "8"))
FEW_OR_MANY = pytest.mark.parametrize("kills", [2, pytest.param(MANY, marks=pytest.mark.slow)])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kills") / "drawn"
    write_synthetic(folder, 8, seed=3)
    return folder


def killed_after(seconds: float, *arguments: object) -> bool:
    """Start the job and kill it so long after its imports; whether it was still running."""
    with subprocess.Popen([*JOB, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
    return process.returncode == -signal.SIGKILL


def unfinished(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*.unfinished")]


@FEW_OR_MANY
def test_a_pack_is_whole_or_not_there(drawn: Path, tmp_path: Path, kills: int) -> None:
    moments, out = random.Random(0), tmp_path / "packed"
    for _ in range(kills):
        killed_after(moments.uniform(0, 0.4), "pack", drawn, out)
        if out.exists():
            assert len(read_pack(out)) > 0
            for path in out.iterdir():
                path.unlink()
            out.rmdir()
    subprocess.run([*JOB, "pack", str(drawn), str(out)], check=True, timeout=120, stdout=subprocess.DEVNULL)
    assert len(read_pack(out)) == len(read_coco(drawn).with_keypoints())
    assert unfinished(tmp_path) == []


@FEW_OR_MANY
def test_a_run_can_always_go_on(drawn: Path, tmp_path: Path, kills: int) -> None:
    moments, out, budget = random.Random(1), tmp_path / "run", 3 + kills
    write_pack(tmp_path / "pack", {"drawn": read_coco(drawn)}, PoseSpec(input_size=(64, 64)))
    for _ in range(kills):
        assert killed_after(moments.uniform(0, 1.0), "train", tmp_path / "pack", out, budget)
        if (out / STATE).exists():
            read_state(out / STATE)
        for name in (LAST, BEST):
            if (out / name).exists():
                load_checkpoint(out / name)
    subprocess.run([*JOB, "train", tmp_path / "pack", out, str(budget)], check=True, timeout=300, capture_output=True)
    assert unfinished(tmp_path) == []
    log = [json.loads(line)["step"] for line in (out / LOG).read_text().splitlines()]
    assert log == list(range(1, read_state(out / STATE).step + 1))
    load_checkpoint(out / LAST)

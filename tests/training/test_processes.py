"""Several processes under torchrun, and one that is killed: each ends where a single unbroken one ends."""

import json
import random
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lehrnet.model.checkpoint import load_checkpoint
from lehrnet.pose.coco import read_coco
from lehrnet.pose.synthetic import write_synthetic
from lehrnet.training.pack import write_pack
from lehrnet.training.trainer import BEST, LAST, LOG, STATE, Run

JOB = Path(__file__).with_name("job.py")
job = SimpleNamespace(**runpy.run_path(str(JOB), run_name="job"))
KILLS = 10


@pytest.fixture(scope="module")
def pack(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    write_synthetic(folder / "drawn", 4, seed=3)
    write_pack(folder / "pack", {"drawn": read_coco(folder / "drawn")}, job.SPEC)
    return folder / "pack"


def test_accumulated_pieces_are_the_whole_step(pack: Path, tmp_path: Path) -> None:
    whole = job.tiny_trainer(pack, Run(tmp_path), 1).people
    recipe = job.tiny_trainer(pack, Run(tmp_path), 1).recipe
    step = whole.of_step(0, 4, recipe.augmentation)
    shares = [whole.of_step(0, 4, recipe.augmentation, share, 2) for share in range(2)]
    pieces = list(step.split(2))
    for share, piece in zip(shares, pieces, strict=True):
        torch.testing.assert_close(share.crops, piece.crops)
        torch.testing.assert_close(share.heatmaps, piece.heatmaps)
    torch.testing.assert_close(torch.cat([share.weights for share in shares]), step.weights)


def test_a_batch_that_does_not_divide_is_refused(pack: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch of 4 does not divide into 3 pieces"):
        job.tiny_trainer(pack, Run(tmp_path, accumulate=3), 1)


@pytest.mark.slow
def test_two_processes_learn_what_one_accumulates(pack: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*command, str(JOB), str(pack), str(tmp_path), "1", "--gradients"], check=True, timeout=300)
    shared = torch.load(tmp_path / "gradients.pt", weights_only=True)
    torch.set_num_threads(1)  # as the job's processes: sums in another order round otherwise
    single = job.gradients_and_figures(job.tiny_trainer(pack, Run(tmp_path / "single", accumulate=2), 1))
    assert shared.keys() == single.keys()
    for name, value in single.items():
        if name.startswith("gradient"):
            # Norms over the few cells of two people magnify rounding; a wrong share would be off by a factor of two.
            torch.testing.assert_close(shared[name], value, rtol=1e-2, atol=1e-2 * float(value.abs().max()) + 1e-7)
        else:  # AP and its kin: the same to the last bit, nobody is counted twice
            torch.testing.assert_close(shared[name], value, rtol=0, atol=0, equal_nan=True)


@pytest.mark.slow
def test_ten_kills_change_nothing(pack: Path, tmp_path: Path) -> None:
    steps, out = 80, tmp_path / "killed"
    command = [sys.executable, str(JOB), str(pack), str(out), str(steps)]
    moments = random.Random(0)
    for _ in range(KILLS):
        before = written(out / LOG)
        process = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        while written(out / LOG) == before and time.monotonic() < deadline:
            time.sleep(0.01)  # until it learns again
        time.sleep(moments.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        for name in (LAST, BEST):
            if (out / name).exists():
                load_checkpoint(out / name)
        if (out / STATE).exists():
            torch.load(out / STATE, weights_only=True)
    subprocess.run(command, check=True, timeout=300)
    torch.set_num_threads(1)
    job.tiny_trainer(pack, Run(tmp_path / "whole", save_every=3, validate_every=20), steps).train()
    for name in (LAST, BEST):
        killed, whole = (load_checkpoint(tmp_path / run / name).network.state_dict() for run in ("killed", "whole"))
        for key, tensor in whole.items():
            torch.testing.assert_close(killed[key], tensor, rtol=0, atol=1e-6)
    log = [json.loads(line)["step"] for line in (out / LOG).read_text().splitlines()]
    assert log == list(range(1, steps + 1))


def written(path: Path) -> int:
    """When a file was last written; 0 where there is none."""
    return path.stat().st_mtime_ns if path.exists() else 0

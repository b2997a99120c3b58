"""Two machines that train one network: torchrun on two addresses of the loopback, with a shared folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lehrnet.pose.coco import read_coco
from lehrnet.pose.synthetic import write_synthetic
from lehrnet.tests.training.test_processes import JOB, job
from lehrnet.training.pack import write_pack
from lehrnet.training.processes import LOST, Processes, said_of_loss
from lehrnet.training.trainer import LOG

MACHINES = ("127.0.0.1", "127.0.0.2")
STEPS = 40


@pytest.fixture(scope="module")
def pack(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("machines")
    write_synthetic(folder / "drawn", 4, seed=3)
    write_pack(folder / "pack", {"drawn": read_coco(folder / "drawn")}, job.SPEC)
    return folder / "pack"


def started(pack: Path, out: Path) -> list[subprocess.Popen[str]]:
    """One torchrun a machine, as docs/training.md has it."""
    with socket.create_server((MACHINES[0], 0)) as free:
        port = free.getsockname()[1]
    machines = []
    for rank, address in enumerate(MACHINES):
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node-rank", str(rank)),
            *("--nproc-per-node", "1", "--master-addr", MACHINES[0], "--master-port", str(port)),
            *("--local-addr", address, str(JOB), str(pack), str(out), str(STEPS)),
        ]
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        machines.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    return machines


def steps_of(out: Path) -> list[int]:
    if not (out / LOG).exists():
        return []
    return [json.loads(line)["step"] for line in (out / LOG).read_text().splitlines() if line.endswith("}")]


def workers_of(machine: subprocess.Popen[str]) -> list[int]:
    listed = Path(f"/proc/{machine.pid}/task/{machine.pid}/children").read_text().split()
    return [int(each) for each in listed if JOB.name in Path(f"/proc/{each}/cmdline").read_text()]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc, and uses a second address of the loopback")
def test_a_worker_that_dies_ends_the_job_with_words_and_the_job_goes_on(pack: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    machines = started(pack, out)
    end = time.monotonic() + 60
    while not steps_of(out) and time.monotonic() < end:
        time.sleep(0.05)
    (killed,) = workers_of(machines[1])
    os.kill(killed, signal.SIGKILL)
    said = [machine.communicate(timeout=60)[1] for machine in machines]
    assert [machine.returncode for machine in machines] == [1, 1], said
    assert LOST in said[0]
    assert "Signal 9 (SIGKILL)" in said[1]
    assert steps_of(out)[-1] < STEPS

    again = started(pack, out)
    said = [machine.communicate(timeout=120)[1] for machine in again]
    assert [machine.returncode for machine in again] == [0, 0], said
    assert steps_of(out) == list(range(1, STEPS + 1))  # each once: the log goes back to the saved state, too


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("[/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.2]:4711"), True),
        (torch.distributed.DistBackendError("NCCL error: remote process exited"), True),
        (RuntimeError("loss is NaN at step 3"), False),
        (ValueError("a batch of 4"), False),
    ],
)
def test_only_the_loss_of_another_process_is_called_that(error: Exception, lost: bool) -> None:
    assert (said_of_loss(error) is not None) == lost


def test_a_process_alone_loses_nobody() -> None:
    assert Processes().gather(3) == [3]

"""Where a step measures: on the GPU by CUDA events, or in a rehearsal on the CPU by the clock."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ....model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ....model.config import variant
from ....model.network import PoseNetwork
from ....pose.spec import COCO, PoseSpec
from ....runtime.pytorch.forms import TorchForm, gpu_network
from ...interleave import by_the_clock
from .job import Job

CALLS, ROUNDS, WARM_UPS = 20, 10, 3
"""Calls in a graph, its replays, and calls before it is captured."""


class Place(Protocol):
    """A device that is measured."""

    device: torch.device
    number: torch.dtype
    """Of the networks that are compared."""

    def timed(self, run: Callable[[], object]) -> float:
        """Milliseconds of one run."""
        ...

    def per_call(self, run: Callable[[int], object]) -> float:
        """Milliseconds of a call without the host's share; `run` takes the handle of the stream."""
        ...

    def form(self, path: Path, form: TorchForm, batch: int) -> Callable[[], object]:
        """A checkpoint in a fast form, as a call that runs it once on a batch of that size."""
        ...

    def current(self) -> AbstractContextManager[Any]:
        """Within, PyTorch's work is what `timed` measures."""
        ...


class GpuPlace:
    """The first GPU."""

    number = torch.float16

    def __init__(self) -> None:
        self.device = torch.device("cuda", 0)
        self.stream: Any = torch.cuda.Stream()
        self.sessions: dict[tuple[Path, str], Any] = {}

    def timed(self, run: Callable[[], object]) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record(self.stream)
        run()
        end.record(self.stream)
        end.synchronize()
        return start.elapsed_time(end)

    def per_call(self, run: Callable[[int], object]) -> float:
        torch.cuda.synchronize()  # what `run` reads was made on another stream
        with torch.cuda.stream(self.stream):
            for _ in range(WARM_UPS):
                run(self.stream.cuda_stream)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            for _ in range(CALLS):
                run(torch.cuda.current_stream().cuda_stream)
        with torch.cuda.stream(self.stream):
            graph.replay()
            times = [self.timed(graph.replay) for _ in range(ROUNDS)]
        return float(np.median(times)) / CALLS

    def form(self, path: Path, form: TorchForm, batch: int) -> Callable[[], object]:
        from ....runtime.pytorch.graph_session import TorchGraphSession  # noqa: PLC0415 - needs cuda-python

        if (path, form.name) not in self.sessions:
            self.sessions[path, form.name] = TorchGraphSession(path, "cuda", form=form, stream=self.stream.cuda_stream)
        session = self.sessions[path, form.name]
        prepared = session.prepared(session.bucket(batch))
        with session.capture() as graph:
            session.enqueue(prepared)
        return lambda: graph.launch(session.stream)

    def current(self) -> AbstractContextManager[Any]:
        torch.cuda.synchronize()  # what was made before was made on another stream
        return torch.cuda.stream(self.stream)


class CpuPlace:
    """The CPU, for a rehearsal: the same calls, measured by the clock."""

    number = torch.float32

    def __init__(self) -> None:
        self.device = torch.device("cpu")

    def timed(self, run: Callable[[], object]) -> float:
        return by_the_clock(run)

    def per_call(self, run: Callable[[int], object]) -> float:
        return by_the_clock(lambda: run(0))

    def form(self, path: Path, form: TorchForm, batch: int) -> Callable[[], object]:
        checkpoint = load_checkpoint(path)
        network = gpu_network(checkpoint.network, checkpoint.spec.input_size, form, self.device)
        crops = torch.zeros(batch, 3, *checkpoint.spec.input_size, dtype=form.number)
        return lambda: network(crops)

    def current(self) -> AbstractContextManager[Any]:
        return nullcontext()


def place_of(job: Job) -> Place:
    """The GPU, or the CPU in a rehearsal."""
    return CpuPlace() if job.stand_in else GpuPlace()


def spec_of(job: Job) -> PoseSpec:
    """The paper's input, 256x192; a small one in a rehearsal."""
    return PoseSpec(input_size=(64, 64)) if job.stand_in else COCO


def network_of(job: Job, name: str) -> PoseNetwork:
    """A new network of a variant, with random weights; in a rehearsal the narrowest that has all its parts."""
    torch.manual_seed(0)
    config = variant(name)
    return PoseNetwork(replace(config, width=8, units=1, modules=(1, 1, 1)) if job.stand_in else config)


def random_checkpoint(job: Job, name: str) -> Path:
    """A checkpoint of `network_of`, on which time does not depend, in the job's scratch folder."""
    path = job.scratch / f"{name}.safetensors"
    save_checkpoint(path, Checkpoint(network_of(job, name).eval(), spec_of(job), "random weights", trained=False))
    return path

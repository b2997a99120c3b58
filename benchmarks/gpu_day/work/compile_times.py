"""torch.compile beside eager PyTorch and torch_fp16: apart from the forms, since compiling takes minutes."""

import time
from collections.abc import Callable
from functools import partial

import torch

from ....model.checkpoint import load_checkpoint
from ....runtime.pytorch.forms import TorchForm
from ...interleave import race
from .form_times import EAGER, OURS
from .job import Job
from .place import Place, place_of, random_checkpoint, spec_of

MODE = "reduce-overhead"
"""CUDA graphs without tuning by trial: max-autotune takes longer than this step has."""
COMPILED = f"torch.compile(mode={MODE}), FP16"
BATCHES = (8, 1, 64)
"""Batch 8 first: each is compiled anew, and the time may end before the last."""


def work(job: Job) -> None:
    """Keep milliseconds and speed-ups over eager PyTorch by batch, and the seconds that compiling took."""
    measure(job, place_of(job))


def measure(job: Job, place: Place) -> None:
    """Measure on a place; a rehearsal leaves the compiler out, which takes minutes on a CPU."""
    path = random_checkpoint(job, "lehrnet_w32")
    network = load_checkpoint(path).network.to(place.device, place.number)
    by_batch, rounds = {}, 2 if job.stand_in else 50
    for batch in (1,) if job.stand_in else BATCHES:
        crops = torch.randn(batch, 3, *spec_of(job).input_size, device=place.device, dtype=place.number)
        compiled = torch.compile(network, mode=MODE, dynamic=False, disable=job.stand_in)
        started = time.monotonic()
        with place.current(), torch.inference_mode():
            compiled(crops)
        seconds = round(time.monotonic() - started, 1)
        subjects: dict[str, Callable[[], object]] = {
            EAGER: partial(network, crops),
            COMPILED: partial(compiled, crops),
            OURS: place.form(path, TorchForm(half=place.number is torch.float16), batch),
        }
        with place.current(), torch.inference_mode(), torch.backends.cudnn.flags(benchmark=True):
            result = race(subjects, EAGER, rounds, warm_up=min(5, rounds), timed=place.timed)
        by_batch[str(batch)] = {
            "milliseconds": result.milliseconds,
            "speed_up": result.speed_up,
            "compile_s": seconds,
        }
        job.keep(compiled_by_batch=by_batch, mode=MODE)

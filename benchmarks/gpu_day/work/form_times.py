"""torch_fp16 and its neighbours beside the same network eager, and beside HRNet-W32, by CUDA events."""

from collections.abc import Callable
from functools import partial

import torch

from ....model.checkpoint import load_checkpoint
from ....runtime.pytorch.forms import TorchForm, neighbours
from ...interleave import race
from .job import PEOPLE_AT_ONCE, Job
from .place import Place, place_of, random_checkpoint, spec_of

EAGER = "eager, FP16"
OURS = TorchForm().name
LARGER_EAGER, LARGER = "hrnet_w32, eager, FP16", f"hrnet_w32 as {TorchForm().name}"
SECONDS_FOR_A_FORM = 6.0
"""Time kept for one more form at one more batch."""


def work(job: Job) -> None:
    """Keep milliseconds and speed-ups over eager PyTorch, by batch; then those of forms that differ in one choice."""
    place = place_of(job)
    measure(job, place)


def measure(job: Job, place: Place) -> None:
    """Measure on a place: batch by batch the goals' subjects first, then the neighbours while time is left."""
    ours, larger = (random_checkpoint(job, variant) for variant in ("lehrnet_w32", "hrnet_w32"))
    eager = {EAGER: ours, LARGER_EAGER: larger}
    networks = {
        name: load_checkpoint(path).network.to(place.device, place.number).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        for name, path in eager.items()
    }
    batches, rounds = ((2,), 2) if job.stand_in else (PEOPLE_AT_ONCE, 100)
    default = TorchForm(half=place.number is torch.float16)
    by_batch = {}
    for batch in batches:
        crops = _crops(job, place, batch)
        subjects: dict[str, Callable[[], object]] = {
            name: partial(network, crops) for name, network in networks.items()
        }
        subjects[OURS] = place.form(ours, default, batch)
        subjects[LARGER] = place.form(larger, default, batch)
        by_batch[str(batch)] = _raced(place, subjects, rounds)
        job.keep(by_batch=by_batch, rounds=rounds, input_size=list(spec_of(job).input_size))
    by_form = {}
    for batch in batches:
        subjects = {OURS: place.form(ours, default, batch)}
        for form in neighbours(half=default.half)[1 : 3 if job.stand_in else None]:
            if job.left() > SECONDS_FOR_A_FORM:
                subjects[form.name] = place.form(ours, form, batch)
        by_form[str(batch)] = _raced(place, subjects, rounds, reference=OURS)
        job.keep(forms_by_batch=by_form)


def _crops(job: Job, place: Place, batch: int) -> torch.Tensor:
    crops = torch.randn(batch, 3, *spec_of(job).input_size, device=place.device, dtype=place.number)
    return crops.contiguous(memory_format=torch.channels_last)


def _raced(
    place: Place, subjects: dict[str, Callable[[], object]], rounds: int, reference: str = EAGER
) -> dict[str, dict[str, dict[str, float]]]:
    # Eager PyTorch is given its best: cuDNN's choice by trial, and channels last.
    with place.current(), torch.inference_mode(), torch.backends.cudnn.flags(benchmark=True):
        result = race(subjects, reference, rounds, warm_up=min(5, rounds), timed=place.timed)
    return {"milliseconds": result.milliseconds, "speed_up": result.speed_up}

"""People a second in training, by batch, with bfloat16 and without."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from ....pose.coco import read_coco
from ....pose.spec import PoseSpec
from ....pose.synthetic import write_synthetic
from ....training.pack import MARGIN, read_pack, write_pack
from ...training import measure
from .job import Job
from .place import network_of

PACK = "pack"
BATCHES = (128, 32, 512)
"""The recipe short's first."""
SECONDS_FOR_A_BATCH = 15.0


def work(job: Job) -> None:
    """Keep people a second by batch and type; the carried pack is used, else drawn people."""
    folder = pack_of(job, images=4 if job.stand_in else 400)
    size, batches = size_of(job, folder), (2,) if job.stand_in else BATCHES
    found: dict[str, dict[str, float]] = {}
    for batch in batches:
        for bf16 in (True, False):
            if job.left() < SECONDS_FOR_A_BATCH:
                return
            facts = measure(
                folder,
                ("lehrnet_w32", "lehrnet_w32_lean"),
                size=size,
                batch=batch,
                steps=1 if job.stand_in else 10,
                device=torch.device("cpu" if job.stand_in else "cuda"),
                bf16=bf16,
                make=partial(network_of, job),
            )
            found[f"batch {batch}, {'bfloat16' if bf16 else 'float32'}"] = facts["training"]
            job.keep(people_per_s=found, input_size=list(size), loader=facts["loader"])


def pack_of(job: Job, images: int) -> Path:
    """The carried pack, or one of drawn people, made once."""
    carried = job.carried_file(PACK)
    if carried is not None:
        return carried
    drawn, folder = job.scratch / "drawn", job.scratch / PACK
    if not folder.is_dir():
        shutil.rmtree(drawn, ignore_errors=True)
        write_synthetic(drawn, images)
        spec = PoseSpec(input_size=(64, 64)) if job.stand_in else PoseSpec()
        people = read_coco(drawn)
        write_pack(folder, {"drawn": people}, replace(spec, skeleton=people.skeleton))
    return folder


def size_of(job: Job, folder: Path) -> tuple[int, int]:
    """The input size (height, width) that a pack was made for; the smallest in a rehearsal."""
    if job.stand_in:
        return 64, 64
    height, width = (round(side / MARGIN) for side in read_pack(folder).size)
    return height, width

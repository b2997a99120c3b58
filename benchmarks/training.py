"""How many people a second a training step takes, and how many the loader could bring.

lehrnet bench --training PACK --result benchmarks/results/training_cpu.json
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..model.network import create_model
from ..pose.augment import Augmentation
from ..pose.spec import COCO
from ..training.batches import Batches
from ..training.pack import read_pack
from ..training.recipe import Recipe
from ..training.trainer import Run, Trainer

PEOPLE = 512  # enough for every batch to be new; few enough to decode in a second
WARM_UP = 2


def measure(
    folder: Path, variants: Sequence[str], *, size: tuple[int, int], batch: int, steps: int, device: torch.device
) -> dict[str, Any]:
    """People a second of whole steps by variant, and of the loader alone: crops decoded before, and for each step."""
    pack = read_pack(folder)
    pack = pack.take(np.arange(min(PEOPLE, len(pack))))
    spec = replace(COCO, input_size=size)
    loaders = {name: Batches(pack, spec, device, room=room) for name, room in (("decoded", 1 << 40), ("encoded", 0))}
    facts: dict[str, Any] = {"device": str(device), "input_size": list(size), "batch": batch, "steps": steps}
    facts["loader"] = {name: _speed_of_loading(people, batch, steps) for name, people in loaders.items()}
    facts["training"] = {name: _speed_of_steps(name, loaders["decoded"], batch, steps) for name in variants}
    fastest = max(facts["training"].values())
    facts["loader_share"] = {name: round(fastest / speed, 4) for name, speed in facts["loader"].items()}
    return facts


def describe(facts: dict[str, Any]) -> str:
    """The figures as a table."""
    height, width = facts["input_size"]
    lines = [f"{facts['device']}, {height}x{width}, batch {facts['batch']}: people a second"]
    lines += [f"  {name:28} {speed:8.1f}" for name, speed in facts["training"].items()]
    lines += [
        f"  loader alone, {name:14} {speed:8.1f}   {facts['loader_share'][name]:.1%} of the fastest step"
        for name, speed in facts["loader"].items()
    ]
    return "\n".join(lines)


def _speed_of_loading(people: Batches, batch: int, steps: int) -> float:
    def load(step: int) -> None:
        people.of_step(step, batch, Augmentation())
        _synchronise(people.device)

    return _speed(load, batch, 4 * steps)


def _speed_of_steps(variant: str, people: Batches, batch: int, steps: int) -> float:
    """Whole steps of the trainer, with the loader, the optimiser and the log, but without validation."""
    torch.manual_seed(0)
    recipe = Recipe(spec=people.spec, epochs=10_000, batch=batch)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(create_model(variant), recipe, people, None, Run(Path(folder), save_every=1 << 40))
        trainer.steps = WARM_UP + steps
        speeds: list[float] = []
        trainer.train(lambda report: speeds.append(report.people_per_second))
    return round(float(np.median(speeds[WARM_UP:])), 2)


def _speed(work: Callable[[int], None], batch: int, steps: int) -> float:
    seconds = []
    for step in range(WARM_UP + steps):
        started = time.perf_counter()
        work(step)
        seconds.append(time.perf_counter() - started)
    return round(batch / float(np.median(seconds[WARM_UP:])), 1)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

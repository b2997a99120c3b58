"""Training speed in people per second: whole steps, and the loader alone.

lehrnet bench --training PACK --result benchmarks/results/training_step_cpu.json
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..model.network import PoseNetwork, create_model
from ..pose.augment import Augmentation
from ..pose.spec import COCO
from ..training.batches import Batches
from ..training.fused_library import fused_library
from ..training.host import keep_pages
from ..training.pack import read_pack
from ..training.recipe import Recipe
from ..training.trainer import Run, Trainer

PEOPLE = 512  # enough for distinct batches, few enough to decode in a second
WARM_UP = 2


def measure(
    folder: Path,
    variants: Sequence[str],
    *,
    size: tuple[int, int],
    batch: int,
    steps: int,
    device: torch.device,
    bf16: bool | None = None,
    make: Callable[[str], PoseNetwork] = create_model,
) -> dict[str, Any]:
    """People per second of whole steps by variant, and of the loader with crops decoded in advance and per step.

    If the CPU has fused operators, steps with and without them are interleaved. `keep_pages` and
    `bf16` (None: on a GPU only) apply to all. `make` makes the network of a variant.
    """
    kept = keep_pages()
    pack = read_pack(folder)
    pack = pack.take(np.arange(min(PEOPLE, len(pack))))
    spec = replace(COCO, input_size=size)
    loaders = {name: Batches(pack, spec, device, room=room) for name, room in (("decoded", 1 << 40), ("encoded", 0))}
    facts: dict[str, Any] = {"device": str(device), "input_size": list(size), "batch": batch, "steps": steps}
    facts |= {"threads": torch.get_num_threads(), "pages_kept": kept}
    facts["loader"] = {name: _speed_of_loading(people, batch, steps) for name, people in loaders.items()}
    fused = device.type == "cpu" and fused_library() is not None
    run = Run(Path(), save_every=1 << 40, bf16=bf16, fused_ops=False)
    facts["bf16"] = run.in_bf16(device)
    subjects = {"training": replace(run, fused_ops=True), "plain": run} if fused else {"training": run}
    speeds = {
        name: _speeds_of_steps(partial(make, name), loaders["decoded"], batch, steps, subjects) for name in variants
    }
    for subject in subjects:
        facts[subject] = {name: round(float(np.median(found[subject])), 2) for name, found in speeds.items()}
    if fused:
        facts["fused_over_plain"] = {
            name: round(float(np.median(found["training"] / found["plain"])), 3) for name, found in speeds.items()
        }
    fastest = max(facts["training"].values())
    facts["loader_share"] = {name: round(fastest / speed, 4) for name, speed in facts["loader"].items()}
    return facts


def describe(facts: dict[str, Any]) -> str:
    """The figures as a table."""
    height, width = facts["input_size"]
    number = "bfloat16" if facts["bf16"] else "float32"
    lines = [f"{facts['device']}, {number}, {height}x{width}, batch {facts['batch']}: people a second"]
    for name, speed in facts["training"].items():
        without = f"   {facts['plain'][name]:8.1f} without fused operators" if "plain" in facts else ""
        lines.append(f"  {name:28} {speed:8.1f}{without}")
    lines += [
        f"  {name:28} {ratio:8.2f} times as fast with" for name, ratio in facts.get("fused_over_plain", {}).items()
    ]
    lines += [
        f"  loader alone, {name:14} {speed:8.1f}   {facts['loader_share'][name]:.1%} of the fastest step"
        for name, speed in facts["loader"].items()
    ]
    return "\n".join(lines)


def _speed_of_loading(people: Batches, batch: int, steps: int) -> float:
    def load(step: int) -> None:
        people.of_step(step, batch, Augmentation())
        _synchronize(people.device)

    return _speed(load, batch, 4 * steps)


def _speeds_of_steps(
    make: Callable[[], PoseNetwork], people: Batches, batch: int, steps: int, subjects: Mapping[str, Run]
) -> dict[str, NDArray[np.float64]]:
    """Speed of whole training steps with loader, optimizer and log, but without validation and saving.

    The `subjects`, with or without fused operators, are interleaved step by step, each in a folder of its own.
    """
    recipe = Recipe(spec=people.spec, epochs=10_000, batch=batch)
    speeds: dict[str, list[float]] = {name: [] for name in subjects}
    with tempfile.TemporaryDirectory() as folder:
        trainers: dict[str, Trainer] = {}
        for name, run in subjects.items():
            torch.manual_seed(0)
            run_there = replace(run, out=Path(folder, name))
            trainers[name] = Trainer(make(), recipe, people, None, run_there)
        for step in range(1, WARM_UP + steps + 1):
            for name, trainer in trainers.items():
                trainer.steps = step
                trainer.train(lambda report, name=name: speeds[name].append(report.people_per_second))
    return {name: np.array(taken[WARM_UP:]) for name, taken in speeds.items()}


def _speed(work: Callable[[int], None], batch: int, steps: int) -> float:
    seconds = []
    for step in range(WARM_UP + steps):
        started = time.perf_counter()
        work(step)
        seconds.append(time.perf_counter() - started)
    return round(batch / float(np.median(seconds[WARM_UP:])), 1)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

"""The recipe `short` on the carried pack, for the minutes that are left; later calls go on with it."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from ....files import write_bytes, write_text
from ....model.checkpoint import load_checkpoint, save_checkpoint
from ....parsing import read_json
from ....pose.spec import COCO
from ....training.batches import Batches
from ....training.pack import read_pack
from ....training.recipe import RECIPES, Recipe
from ....training.trainer import BEST, LAST, STATE, Report, Run, Trainer
from ....training.validate import FIGURE
from ..pack_results import KEEP, join_parts
from ..runner import EARLIER
from ..states import RESULTS, read_results
from .job import Job, PausedError
from .place import network_of
from .training_times import PACK, pack_of, size_of

SAVE_EVERY, KEEP_EVERY, VALIDATE_EVERY = 50, 200, 400
"""Steps between saved states, between weights and figures that come back, and between validations."""
STOP_BEFORE_S = 6.0
"""It pauses at the last saved state before this time."""
RUN, HISTORY = "run", "history.json"
LARGEST_HISTORY = 1 << 20  # bytes


def work(job: Job) -> None:
    """Keep speed, progress and held-out AP as they come, and the weights among the files that come back."""
    folder = pack_of(job, images=6 if job.stand_in else 2000)
    trainer = _trainer(job, folder)
    began = _resume(job, trainer)
    speeds: list[float] = []
    aps = list(began)
    if aps or trainer.step:
        _keep(job, trainer, speeds, aps)  # before the first report: what came back earlier must come back again

    def watch(report: Report) -> None:
        speeds.append(report.people_per_second)
        if report.figures is not None:
            aps.append({"minutes": round(trainer.elapsed_s / 60, 2), "ap": round(report.figures[FIGURE], 4)})
        saved = report.step % SAVE_EVERY == 0
        pauses = saved and job.left() < STOP_BEFORE_S + SAVE_EVERY * trainer.recipe.batch / median(speeds)
        if pauses or report.figures is not None or report.step % KEEP_EVERY == 0 or report.progress >= 1:
            _keep(job, trainer, speeds, aps)
        if pauses and report.progress < 1:
            raise PausedError(f"step {trainer.step}, {trainer.progress:.0%} of the schedule")

    trainer.train(watch)


def _trainer(job: Job, folder: Path) -> Trainer:
    pack, device = read_pack(folder), torch.device("cpu" if job.stand_in else "cuda")
    if job.stand_in:
        pack = pack.take(np.concatenate([np.flatnonzero(pack.held_out == held)[:8] for held in (True, False)]))
    recipe = _recipe(job, size_of(job, folder))
    learnt, held = pack.take(~pack.held_out), pack.take(pack.held_out)
    with_ap = bool(len(held)) and find_spec("pycocotools") is not None
    origin = "carried" if job.carried_file(PACK) else "drawn people: none was carried"
    job.keep(people=len(learnt), held_out=len(held), held_out_measured=with_ap, pack=origin)
    run = Run(
        job.scratch / RUN,
        device=str(device),
        time_budget_s=60 * job.settings.train_minutes,
        save_every=SAVE_EVERY,
        validate_every=VALIDATE_EVERY,
        fused_ops=False,
    )
    network = network_of(job, "lehrnet_w32")
    held_out = Batches(held, recipe.spec, device) if with_ap else None
    return Trainer(network, recipe, Batches(learnt, recipe.spec, device), held_out, run)


def _recipe(job: Job, size: tuple[int, int]) -> Recipe:
    """`short` at the pack's size; its epochs are without limit, so that the schedule ends by time."""
    recipe = replace(RECIPES["short"], spec=replace(COCO, input_size=size), epochs=100_000)
    return replace(recipe, batch=2, epochs=1) if job.stand_in else recipe


def _resume(job: Job, trainer: Trainer) -> list[dict[str, float]]:
    """Go on from this machine's state, else from the averaged weights that came back; returns the APs until then."""
    history, earlier = job.scratch / HISTORY, job.carried_file(EARLIER, RESULTS)
    if (trainer.run.out / STATE).is_file():
        trainer.resume()
        job.keep(went_on_from=f"state, step {trainer.step}")
        return read_json(history, LARGEST_HISTORY) if history.is_file() else []
    before = _train_facts(earlier) if earlier else {}
    if earlier is None or not before.get("place"):
        return []
    place, path = before["place"], job.scratch / f"earlier_{LAST}"
    write_bytes(path, join_parts(earlier.parent, LAST))
    trainer.network.load_state_dict(load_checkpoint(path).network.state_dict())
    if trainer.average is not None:
        trainer.average.module.load_state_dict(trainer.network.state_dict())
    trainer.step, trainer.elapsed_s, trainer.best = int(place["step"]), float(place["elapsed_s"]), float(place["best"])
    job.keep(went_on_from=f"averaged weights, step {trainer.step}: the optimizer began anew")
    return list(before.get("held_out_ap", []))


def _train_facts(path: Path) -> dict[str, Any]:
    return (read_results(path)["steps"].get("train") or {}).get("result") or {}


def _keep(job: Job, trainer: Trainer, speeds: list[float], aps: list[dict[str, float]]) -> None:
    """Write figures, and the weights in half precision where they come back from."""
    write_text(job.scratch / HISTORY, json.dumps(aps))
    keep = job.out.parent / KEEP
    for name in (LAST, BEST):
        path = trainer.run.out / name
        path = path if path.is_file() else job.scratch / f"earlier_{name}"
        if path.is_file():
            save_checkpoint(keep / name, load_checkpoint(path), half=True)
    job.keep(
        people_per_s=round(median(speeds), 1) if speeds else None,
        steps_taken=len(speeds),
        progress=round(trainer.progress, 4),
        place={"step": trainer.step, "elapsed_s": round(trainer.elapsed_s, 2), "best": trainer.best},
        held_out_ap=aps,
        best_ap=round(trainer.best, 4) if trainer.best >= 0 else None,
        schedule_minutes=job.settings.train_minutes,
    )

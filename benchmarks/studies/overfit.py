"""Sanity check of the trainer: overfit a few real people without augmentation and evaluate on them.

python -m lehrnet.benchmarks.studies.overfit PACK --minutes 20 --out benchmarks/results/overfit_cpu.json
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ...model.network import create_model
from ...pose.augment import NONE
from ...pose.metrics import for_json
from ...pose.spec import COCO
from ...training.batches import Batches
from ...training.pack import Pack, read_pack
from ...training.recipe import Recipe
from ...training.trainer import Report, Run, Trainer
from ...training.validate import held_out_metrics
from ..results import write_result

PEOPLE = 32


def choose(pack: Pack, count: int) -> Pack:
    """The first `count` people of a pack with all joints labelled."""
    whole = np.flatnonzero((pack.keypoints[:, :, 2] > 0).all(1))
    if len(whole) < count:
        raise ValueError(f"the pack has {len(whole)} people with every joint labelled, expected at least {count}")
    return pack.take(whole[:count])


def measure(pack: Pack, size: tuple[int, int], minutes: float, variant: str, device: str) -> dict[str, Any]:
    """Train on PEOPLE people for `minutes`; COCO metrics on the same people, and the time taken."""
    torch.manual_seed(0)
    recipe = Recipe(
        spec=replace(COCO, input_size=size, decode="dark"),
        epochs=100_000,
        batch=8,
        learning_rate=2e-3,
        schedule="cosine",
        warm_up=0.02,
        peak=0.02,
        augmentation=NONE,
    )
    people = Batches(choose(pack, PEOPLE), recipe.spec, torch.device(device))
    with tempfile.TemporaryDirectory() as folder, tqdm(unit="step", mininterval=10) as bar:

        def watch(report: Report) -> None:
            bar.update(report.step - bar.n)
            bar.set_postfix(loss=f"{report.loss:.1e}", refresh=False)
            if report.figures is not None:
                bar.write(f"step {report.step}: AP {report.figures['AP']:.3f}")

        run = Run(Path(folder), time_budget_s=60 * minutes, validate_every=100, save_every=1000)
        trainer = Trainer(create_model(variant), recipe, people, people, run)
        trainer.train(watch)
        return {
            "variant": variant,
            "input_size": list(size),
            "people": PEOPLE,
            "device": device,
            "steps": trainer.step,
            "seconds": round(trainer.elapsed_s, 1),
            "people_per_second": round(trainer.step * recipe.batch / trainer.elapsed_s, 2),
            **for_json(held_out_metrics(trainer.heatmaps, people, PEOPLE)),
        }


def main() -> None:
    """Train, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path, help="a pack of `lehrnet pack`")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--size", default="128x96", metavar="HxW")
    parser.add_argument("--variant", default="lehrnet_w32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    height, width = (int(side) for side in options.size.split("x"))
    figures = measure(read_pack(options.pack), (height, width), options.minutes, options.variant, options.device)
    print(figures)
    if options.out:
        write_result(options.out, "python -m lehrnet.benchmarks.studies.overfit PACK", figures)


if __name__ == "__main__":
    main()

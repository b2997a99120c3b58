"""A tiny training as a process of its own: torchrun starts two of it, and a test kills it.

python job.py PACK OUT STEPS [--gradients]
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from lehrnet.model import NetworkConfig, PoseNetwork
from lehrnet.pose.spec import PoseSpec
from lehrnet.training.batches import Batches
from lehrnet.training.pack import read_pack
from lehrnet.training.processes import Processes, processes
from lehrnet.training.recipe import Recipe
from lehrnet.training.trainer import STATE, Run, Trainer
from lehrnet.training.validate import held_out_metrics

SPEC = PoseSpec(input_size=(64, 64))
RECIPE = Recipe(spec=SPEC, epochs=4, batch=4, schedule="cosine", average=0.9, weight_decay=0.01, peak=0.01)


def tiny_trainer(pack: Path, run: Run, steps: int, team: Processes | None = None) -> Trainer:
    """A trainer of `steps` steps."""
    torch.manual_seed(0)
    network = PoseNetwork(NetworkConfig(width=8, units=1, modules=(1, 1, 1)))
    people = Batches(read_pack(pack), SPEC, torch.device("cpu"))
    trainer = Trainer(network, replace(RECIPE, epochs=steps), people, people, run, processes=team)
    trainer.steps = steps
    return trainer


def gradients_and_figures(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Gradients of the first step, and AP of the fresh network, as tensors."""
    figures = held_out_metrics(trainer.heatmaps, trainer.people, 2, trainer.processes)
    trainer.train()
    found = {f"gradient {name}": p.grad for name, p in trainer.network.named_parameters() if p.grad is not None}
    return {**found, **{name: torch.tensor(value, dtype=torch.float64) for name, value in figures.items()}}


def main() -> None:
    """Train, and keep the gradients where asked."""
    pack, out, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    with processes("gloo") as team:
        trainer = tiny_trainer(pack, Run(out, save_every=3, validate_every=20), steps, team)
        if (out / STATE).exists():
            trainer.resume()
        if "--gradients" in sys.argv:
            found = gradients_and_figures(trainer)
            if team.first:
                torch.save(found, out / "gradients.pt")
        else:
            trainer.train()


if __name__ == "__main__":
    main()

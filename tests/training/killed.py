"""A packing or a training as a process of its own, which a test kills; it says "ready" once all is imported.

python killed.py pack DATA OUT
python killed.py train PACK OUT STEPS
"""

import sys
from pathlib import Path

import torch

from lehrnet.cli import main
from lehrnet.model import NetworkConfig
from lehrnet.model.config import VARIANTS
from lehrnet.pose.spec import PoseSpec
from lehrnet.training.recipe import Recipe
from lehrnet.training.run import Request, train
from lehrnet.training.trainer import STATE, Run

RECIPE = Recipe(spec=PoseSpec(input_size=(64, 64)), batch=2, average=0.9)


def run() -> int:
    """Do what the arguments say."""
    command, source, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    print("ready", flush=True)  # noqa: T201
    if command == "pack":
        return main(["pack", str(source), "--out", str(out)])
    VARIANTS["tiny"] = NetworkConfig(width=8, units=1, modules=(1, 1, 1))
    request = Request((source,), RECIPE, network="tiny", resume=(out / STATE).exists())
    train(request, Run(out, save_every=1, time_budget_s=float(sys.argv[4])))
    return 0


if __name__ == "__main__":
    sys.exit(run())

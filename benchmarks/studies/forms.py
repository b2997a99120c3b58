"""Speed-up of the exact forms on this CPU over a plain export of the published network, and over HRNet.

python -m lehrnet.benchmarks.studies.forms --out benchmarks/results/forms_cpu.json
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...export.graph import export_module
from ...model.forms import as_published, deploy
from ...model.network import create_model
from ...pose.spec import COCO
from ...runtime.session import open_session
from ..interleave import race
from ..results import write_result

PLAIN = "plain export, EMA as published"
OURS = "exact forms (what we ship)"
SIZE = COCO.input_size


def networks() -> dict[str, Callable[[], nn.Module]]:
    """The networks to time, with random weights, since time does not depend on them."""
    return {
        PLAIN: lambda: as_published(create_model("lehrnet_w32")),
        "exact forms, LConv split": lambda: deploy(create_model("lehrnet_w32"), SIZE, "split"),
        OURS: lambda: deploy(create_model("lehrnet_w32"), SIZE),
        "exact forms, without EMA": lambda: deploy(create_model("lehrnet_w32_lean"), SIZE),
        "hrnet_w32": lambda: deploy(create_model("hrnet_w32"), SIZE),
    }


def measure(batches: tuple[int, ...], rounds: int, threads: int | None) -> dict[str, Any]:
    """Nodes of each graph, and times and speed-ups over the plain export by batch."""
    torch.manual_seed(0)
    nodes, sessions = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for index, (name, build) in enumerate(networks().items()):
            path = Path(folder) / f"{index}.onnx"
            model = export_module(build(), SIZE, path)
            nodes[name] = len(model.graph.node)
            sessions[name] = open_session(path, "cpu", threads)
    by_batch = {}
    for batch in batches:
        crops = np.random.default_rng(0).standard_normal((batch, 3, *SIZE), dtype=np.float32)
        subjects = {name: partial(session.run, crops) for name, session in sessions.items()}
        result = race(subjects, PLAIN, rounds)
        by_batch[str(batch)] = {"milliseconds": result.milliseconds, "speed_up": result.speed_up}
    return {"threads": threads, "rounds": rounds, "nodes": nodes, "by_batch": by_batch}


def main() -> None:
    """Measure, print a table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", default="1,8", help="comma-separated (%(default)s)")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, help="CPU threads; ONNX Runtime's choice if absent")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    figures = measure(tuple(int(batch) for batch in options.batch.split(",")), options.rounds, options.threads)
    for batch, result in figures["by_batch"].items():
        print(f"batch {batch}: network on the CPU, ONNX Runtime, {options.rounds} interleaved rounds")
        for name, time in result["milliseconds"].items():
            speed_up = result["speed_up"][name]
            print(
                f"  {name:46} {figures['nodes'][name]:5d} nodes {time['p50']:8.1f} ms   "
                f"{speed_up['p50']:.2f} times the plain export's speed ({speed_up['p10']:.2f} to {speed_up['p90']:.2f})"
            )
    if options.out:
        write_result(options.out, "python -m lehrnet.benchmarks.studies.forms", figures)


if __name__ == "__main__":
    main()

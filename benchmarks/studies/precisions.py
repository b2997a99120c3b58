"""Comparison of a bundle's precisions: AP on labelled photographs, bytes, nodes, and speed on this CPU.

lehrnet export --out bundle --precisions fp32,fp16,int8,int8_cpu --calibration FOLDER
python -m lehrnet.benchmarks.studies.precisions bundle --data coco/ --out benchmarks/results/precisions_cpu.json
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ...calibration.budget import Int8Choice
from ...pose.evaluate import evaluate
from ...runtime.bundle import WEIGHTS, Bundle, open_bundle
from ...runtime.session import Session, open_artefact
from ..interleave import race
from ..results import write_result


def accuracy(bundle: Bundle, sessions: dict[str, Session], folder: Path) -> dict[str, float]:
    """COCO AP of every precision, with labelled boxes and without flip test."""
    return {
        name: evaluate(
            session.run,
            folder,
            bundle.spec,
            progress=lambda batches, count, name=name: tqdm(batches, name, count, unit="batch", disable=None),
        ).figures["AP"]
        for name, session in sessions.items()
    }


def speed(bundle: Bundle, sessions: dict[str, Session], batches: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """Interleaved times, and speed-up over FP32, by batch."""
    found = {}
    for batch in batches:
        crops = np.random.default_rng(0).standard_normal((batch, 3, *bundle.spec.input_size), dtype=np.float32)
        result = race({name: partial(session.run, crops) for name, session in sessions.items()}, "fp32", rounds)
        found[str(batch)] = {"milliseconds": result.milliseconds, "speed_up": result.speed_up}
    return found


def measure(root: Path, folder: Path | None, batches: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """All figures of the precisions that ONNX Runtime's CPU runs."""
    bundle = open_bundle(root)
    graphs = [name for name, artefact in bundle.artefacts.items() if name != WEIGHTS and artefact.runs_on_cpu]
    sessions = {name: open_artefact(bundle, name, "cpu") for name in graphs}
    whole = bundle.artefacts["fp32"].bytes
    facts: dict[str, Any] = {
        name: {
            "bytes": bundle.artefacts[name].bytes,
            "share_of_fp32": bundle.artefacts[name].bytes / whole,
            "nodes": bundle.artefacts[name].measured.get("nodes"),
            "int8_macs": choice.int8_macs if (choice := Int8Choice.of(bundle.artefacts[name].measured)) else None,
        }
        for name in sessions
    }
    if folder is not None:
        for name, ap in accuracy(bundle, sessions, folder).items():
            facts[name]["ap"] = ap
    return {
        "variant": bundle.variant,
        "input_size": bundle.spec.input_size,
        "rounds": rounds,
        "precisions": facts,
        "by_batch": speed(bundle, sessions, batches, rounds),
    }


def main() -> None:
    """Measure, print a table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="labelled photographs, for AP")
    parser.add_argument("--batch", default="1,8", help="comma-separated (%(default)s)")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    batches = tuple(int(batch) for batch in options.batch.split(","))
    figures = measure(options.bundle, options.data, batches, options.rounds)
    for name, facts in figures["precisions"].items():
        times = [figures["by_batch"][str(batch)]["speed_up"][name]["p50"] for batch in batches]
        ap = f"AP {100 * facts['ap']:.2f}  " if "ap" in facts else ""
        speeds = ", ".join(f"{time:.2f} at batch {batch}" for time, batch in zip(times, batches, strict=True))
        print(f"{name:9} {facts['bytes'] / 1e6:5.1f} MB ({facts['share_of_fp32']:.0%})  {ap}speed over FP32: {speeds}")
    if options.out:
        write_result(options.out, "python -m lehrnet.benchmarks.studies.precisions BUNDLE --data FOLDER", figures)


if __name__ == "__main__":
    main()

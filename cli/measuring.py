"""Commands about speed: bench."""

import argparse
import json
from pathlib import Path

from .command import Command, size


def _add_bench(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--training", type=Path, metavar="PACK", help="people a second of training steps and loader")
    parser.add_argument("--variants", default="lehrnet_w32,lehrnet_w32_lean", help="comma-separated (%(default)s)")
    parser.add_argument("--size", type=size, default=(128, 96), metavar="HxW", help="crop, px (128x96)")
    parser.add_argument("--batch", type=int, default=32, help="people in a step (%(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="timed, after a warm-up (%(default)s)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 or auto (%(default)s)")
    parser.add_argument("--result", type=Path, metavar="FILE", help="keep the figures with the machine's facts")
    parser.add_argument("--json", action="store_true", help="for machines")


def _bench(options: argparse.Namespace) -> int:
    from ..benchmarks.results import write_result
    from ..benchmarks.training import describe, measure
    from ..model.device import choose_device

    if options.batch < 1 or options.steps < 1:
        raise ValueError(f"batch {options.batch}, steps {options.steps}: expected at least 1")
    facts = measure(
        options.training,
        options.variants.split(","),
        size=options.size,
        batch=options.batch,
        steps=options.steps,
        device=choose_device(options.device),
    )
    if options.result:
        write_result(options.result, "lehrnet bench --training PACK", facts)
    print(json.dumps(facts, indent=2) if options.json else describe(facts))
    return 0


COMMANDS = (
    Command("bench", "Measure speed.", "lehrnet bench --training packed --result training.json", _add_bench, _bench),
)

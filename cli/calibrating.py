"""Arguments about calibration, which export and finetune share."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .command import number, size

if TYPE_CHECKING:
    from ..calibration.calibrate import Calibration


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """The checkpoint, and what a plain state dict does not say of itself."""
    from ..pose.heatmap import DECODE_METHODS, FRAMES

    parser.add_argument(
        "checkpoint",
        type=Path,
        nargs="?",
        help="ours, HRNet's or MMPose's, or a state dict with --network and --size; the shipped weights if absent",
    )
    parser.add_argument("--network", metavar="VARIANT", help="the network of a plain state dict or of random weights")
    parser.add_argument("--size", type=size, metavar="HxW", help="the crop that a plain state dict was trained at")
    parser.add_argument("--decode", choices=DECODE_METHODS, help="how a plain state dict's heatmaps are decoded")
    parser.add_argument("--frame", choices=FRAMES, help="how its cells, crop and image hang together (by what it is)")


def inputs_of(options: argparse.Namespace) -> list[Path | None]:
    """What is read and must not be written over: the checkpoint and the calibration data."""
    from ..model.checkpoint import DEFAULT_WEIGHTS

    return [options.checkpoint or DEFAULT_WEIGHTS, options.calibration]


def add_calibration(parser: argparse.ArgumentParser) -> None:
    """On whom ranges are collected and precisions judged, and what INT8 may cost."""
    from ..calibration.budget import EFFORTS, LABELLED
    from ..calibration.observers import DEFAULT_METHOD, METHODS
    from ..calibration.samples import CALIBRATION_PEOPLE, JUDGED_PEOPLE

    group = parser.add_argument_group("calibration, for fp16 and int8")
    group.add_argument("--calibration", type=Path, metavar="FOLDER", help="photographs like those of the product")
    group.add_argument("--ranges", type=Path, metavar="FILE", help="activation ranges (BUNDLE.ranges.json if absent)")
    group.add_argument("--held-out", action="store_true", help="only of images that `lehrnet pack` keeps from training")
    group.add_argument("--people", type=int, default=CALIBRATION_PEOPLE, help="for the ranges (%(default)s)")
    group.add_argument("--judged", type=int, default=JUDGED_PEOPLE, help="other people, to judge on (%(default)s)")
    group.add_argument("--method", choices=METHODS, default=DEFAULT_METHOD, help="of clipping (%(default)s)")
    group.add_argument("--seed", type=int, default=0, help="of the choice of people (%(default)s)")
    group.add_argument("--effort", choices=EFFORTS, default="quick", help="of the search for units (%(default)s)")
    group.add_argument("--max-ap-drop", type=number, metavar="X", help=f"that INT8 may cost ({LABELLED.ap:g})")
    group.add_argument(
        "--max-oks-drop", type=number, metavar="X", help=f"against FP32's keypoints, labels or not ({LABELLED.oks:g})"
    )


def calibration_of(options: argparse.Namespace) -> "Calibration":
    """What the arguments ask for."""
    from ..calibration.budget import Budget
    from ..calibration.calibrate import Calibration

    budget = None
    if options.max_ap_drop is not None or options.max_oks_drop is not None:
        budget = Budget(options.max_ap_drop, options.max_oks_drop)
    return Calibration(
        folder=options.calibration,
        ranges=options.ranges,
        held_out=options.held_out,
        people=options.people,
        judged=options.judged,
        seed=options.seed,
        method=options.method,
        budget=budget,
        effort=options.effort,
    )


def progress(things: Iterable[Any], name: str, count: int) -> Iterable[Any]:
    """A bar, where a person watches."""
    from tqdm import tqdm

    return tqdm(things, name, count, disable=None)

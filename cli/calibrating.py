"""Calibration arguments, shared by export and finetune."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .command import add_skeleton, number, size

if TYPE_CHECKING:
    from ..calibration.calibrate import Calibration


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add the checkpoint, and the properties that a plain state dict does not record."""
    from ..pose.heatmap import DECODE_METHODS, FRAMES

    parser.add_argument(
        "checkpoint",
        type=Path,
        nargs="?",
        help="a checkpoint of lehrnet's, HRNet's or MMPose's, or a plain state dict with --network and --size; "
        "default: the shipped weights",
    )
    parser.add_argument("--network", metavar="VARIANT", help="network of a plain state dict or of random weights")
    parser.add_argument("--size", type=size, metavar="HxW", help="input size that a plain state dict was trained at")
    parser.add_argument("--decode", choices=DECODE_METHODS, help="decoding of a plain state dict's heatmaps")
    parser.add_argument("--frame", choices=FRAMES, help="frame of a plain state dict's heatmaps and crops")
    add_skeleton(parser, "the checkpoint's own, or COCO's or MPII's by their number")


def inputs_of(options: argparse.Namespace) -> list[Path | None]:
    """Input files that must not be overwritten: the checkpoint and the calibration data."""
    from ..model.checkpoint import DEFAULT_WEIGHTS

    return [options.checkpoint or DEFAULT_WEIGHTS, options.calibration, options.skeleton]


def add_calibration(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the calibration data, the method and the INT8 accuracy budget."""
    from ..calibration.budget import EFFORTS, LABELLED
    from ..calibration.observers import DEFAULT_METHOD, METHODS
    from ..calibration.samples import CALIBRATION_PEOPLE, JUDGED_PEOPLE

    group = parser.add_argument_group("calibration, for fp16 and int8")
    group.add_argument("--calibration", type=Path, metavar="FOLDER", help="data folder to calibrate and judge on")
    group.add_argument(
        "--ranges",
        type=Path,
        metavar="FILE",
        help="activation ranges to reuse or to write (default: BUNDLE.ranges.json)",
    )
    group.add_argument(
        "--held-out", action="store_true", help="use only images that `lehrnet pack` holds out from training"
    )
    group.add_argument(
        "--people", type=int, default=CALIBRATION_PEOPLE, help="people to collect ranges on (%(default)s)"
    )
    group.add_argument(
        "--judged", type=int, default=JUDGED_PEOPLE, help="other people to judge accuracy on (%(default)s)"
    )
    group.add_argument("--method", choices=METHODS, default=DEFAULT_METHOD, help="calibration method (%(default)s)")
    group.add_argument("--seed", type=int, default=0, help="seed of the sampling of people (%(default)s)")
    group.add_argument(
        "--effort", choices=EFFORTS, default="quick", help="effort of the mixed-precision search (%(default)s)"
    )
    group.add_argument("--max-ap-drop", type=number, metavar="X", help=f"largest AP drop of INT8 ({LABELLED.ap:g})")
    group.add_argument(
        "--max-oks-drop", type=number, metavar="X", help=f"largest OKS drop against FP32 keypoints ({LABELLED.oks:g})"
    )


def calibration_of(options: argparse.Namespace) -> "Calibration":
    """The calibration settings in the arguments."""
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
    """A progress bar, only on a terminal."""
    from tqdm import tqdm

    return tqdm(things, name, count, disable=None)

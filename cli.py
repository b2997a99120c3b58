"""The command line: each command parses, calls one library function and prints."""

import argparse
import json
import logging
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from . import __version__

EPILOG = """\
examples:
  lehrnet info                                    what the default network costs, beside the paper
  lehrnet export weights.safetensors --out bundle
  lehrnet verify bundle --data coco/              ONNX against PyTorch, on photographs
  lehrnet predict bundle photo.jpg --out out/     keypoints.json and a picture
"""
CHECK_FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit code is 0, 1 when a check failed, or 2 for bad input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    chosen = next((argument for argument in arguments if not argument.startswith("-")), "")
    try:
        options = _parser(chosen).parse_args(arguments)
        logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s")
        return options.run(options)
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        print(f"lehrnet: error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("lehrnet: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser(chosen: str) -> argparse.ArgumentParser:
    """The parser; only the chosen command gets its arguments, so that `predict` never imports what `info` needs."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "lehrnet", description="Deploy LE-HRNet, a light pose network.", epilog=EPILOG, formatter_class=form
    )
    parser.add_argument("--version", action="version", version=f"lehrnet {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        epilog = f"example:\n  {command.example}"
        added = commands.add_parser(
            command.name, help=command.text, description=command.text, epilog=epilog, formatter_class=form
        )
        added.add_argument("-v", "--verbose", action="store_true", help="say what happens")
        if command.name == chosen:
            command.add_arguments(added)
            added.set_defaults(run=command.run)
    return parser


def _add_info(parser: argparse.ArgumentParser) -> None:
    from .model.config import DEFAULT_VARIANT, VARIANTS, NetworkConfig
    from .pose.spec import PoseSpec

    parser.add_argument("variant", nargs="?", default=DEFAULT_VARIANT, help=f"one of {', '.join(VARIANTS)}")
    parser.add_argument("--size", type=_size, default=PoseSpec.input_size, metavar="HxW", help="crop, px (256x192)")
    parser.add_argument("--joints", type=int, default=NetworkConfig.joints, help="heatmaps (%(default)s)")
    parser.add_argument("--result", type=Path, metavar="FILE", help="keep the figures with the machine's facts")
    parser.add_argument("--json", action="store_true", help="for machines")


def _info(options: argparse.Namespace) -> int:
    from .benchmarks.info import describe, describe_text
    from .benchmarks.results import write_result

    facts = describe(options.variant, options.size, options.joints)
    if options.result:
        write_result(options.result, f"lehrnet info {options.variant}", facts)
    print(json.dumps(facts, indent=2) if options.json else describe_text(facts))
    return 0


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, nargs="?", help=".safetensors, or .pth with --network")
    parser.add_argument("--untrained", action="store_true", help="random weights instead of a checkpoint")
    parser.add_argument("--network", metavar="VARIANT", help="the network of a plain state dict, or of --untrained")
    parser.add_argument("--joints", type=int, help="refuse a checkpoint with another number of joints")
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="the folder to write")
    parser.add_argument("--precisions", default="fp32", help="comma-separated: fp32 (%(default)s)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="verify on these photographs, not on noise")
    parser.add_argument("--overwrite", action="store_true", help="replace a bundle that stands there")
    parser.add_argument("--json", action="store_true", help="for machines")


def _export(options: argparse.Namespace) -> int:
    from .export.package import export_bundle, open_checkpoint
    from .export.verify import photograph_crops

    checkpoint = open_checkpoint(
        options.checkpoint, network=options.network, joints=options.joints, untrained=options.untrained
    )
    crops = photograph_crops(options.data, checkpoint.spec) if options.data else None
    bundle = export_bundle(
        checkpoint,
        options.out,
        precisions=options.precisions.split(","),
        trained=not options.untrained,
        crops=crops,
        overwrite=options.overwrite,
    )
    measured = {name: dict(artefact.measured) for name, artefact in bundle.artefacts.items() if artefact.measured}
    if options.json:
        print(json.dumps({"bundle": str(bundle.root), "variant": bundle.variant, "measured": measured}))
    else:
        from .export.report import parity_table

        print(f"{bundle.root}: {bundle.variant}{'' if bundle.trained else ', untrained'}")
        print(parity_table([facts["parity"] for facts in measured.values()]))
    return 0


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="a bundle's folder")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="COCO data folder; without it, noise")
    parser.add_argument("--result", type=Path, metavar="FILE", help="keep the figures with the machine's facts")
    parser.add_argument("--json", action="store_true", help="for machines")


def _verify(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .benchmarks.results import write_result
    from .export.report import parity_table
    from .export.verify import photograph_crops, random_crops, verify_bundle
    from .runtime.bundle import open_bundle

    bundle = open_bundle(options.bundle)
    crops = photograph_crops(options.data, bundle.spec) if options.data else random_crops(bundle.spec)
    crops = tqdm(crops, desc="verifying", unit="batch", disable=None)  # None: only where a person watches
    ladder = [parity.facts() for parity in verify_bundle(bundle, crops)]
    if options.result:
        write_result(
            options.result, "lehrnet verify BUNDLE --data FOLDER", {"variant": bundle.variant, "ladder": ladder}
        )
    print(json.dumps(ladder) if options.json else parity_table(ladder))
    return 0 if all(rung["passed"] for rung in ladder) else CHECK_FAILED


def _add_pack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="FOLDER[,FOLDER]", help="COCO or MPII data folders")
    parser.add_argument("--out", type=Path, required=True, metavar="PACK", help="the folder to write")
    parser.add_argument("--recipe", default="coco", help="whose input size and skeleton to pack for (%(default)s)")


def _pack(options: argparse.Namespace) -> int:
    from .training.run import pack_folders, recipe_named

    count = pack_folders(_folders(options.data), options.out, recipe_named(options.recipe).spec)
    print(f"{options.out}: {count} people")
    return 0


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, metavar="FOLDER[,FOLDER]|PACK", help="data folders, or a pack")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="checkpoints, log and state")
    parser.add_argument("--recipe", default="coco", help="coco and mpii are the paper's, short is ours (%(default)s)")
    parser.add_argument("--network", metavar="VARIANT", help="see `lehrnet info`; the default network if absent")
    parser.add_argument("--size", type=_size, metavar="HxW", help="train on smaller crops than the recipe's")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--batch", type=int, help="instead of the recipe's")
    parser.add_argument("--start", type=Path, metavar="CHECKPOINT", help="begin from these weights")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--time-budget", type=float, metavar="MINUTES", help="end the schedule by then")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 or auto (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)


def _train(options: argparse.Namespace) -> int:
    from .training.run import Request, recipe_named, train
    from .training.trainer import Run

    recipe = recipe_named(options.recipe)
    changes = {name: value for name in ("epochs", "batch") if (value := getattr(options, name)) is not None}
    if options.size:
        changes["spec"] = replace(recipe.spec, input_size=options.size)
    request = Request(
        data=tuple(_folders(options.data)),
        recipe=replace(recipe, **changes),
        start=options.start,
        resume=options.resume,
        **({"network": options.network} if options.network else {}),
    )
    budget = 60 * options.time_budget if options.time_budget else None
    best = train(request, Run(options.out, options.seed, options.device, budget))
    print(f"{options.out}: held-out accuracy {best:.4f}")
    return 0


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="a bundle, a checkpoint (.safetensors) or an ONNX file")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="COCO or MPII data folder")
    parser.add_argument(
        "--boxes", default="gt", metavar="gt|FILE", help="labels' boxes or COCO detections (%(default)s)"
    )
    parser.add_argument("--precision", default="fp32", help="which of a bundle's graphs (%(default)s)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 or auto (%(default)s)")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--flip", action="store_true", help="also run the mirror image: slower, more accurate")
    parser.add_argument("--results", type=Path, metavar="FILE", help="keep the keypoints as COCO results")
    parser.add_argument("--json", action="store_true", help="for machines")


def _evaluate(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .pose.evaluate import evaluate, figures_table
    from .runtime.models import open_model
    from .runtime.predict import write_results

    session, spec = open_model(options.model, options.precision, options.device, options.threads)
    detections = None if options.boxes == "gt" else Path(options.boxes)
    found = evaluate(
        session.run,
        options.data,
        spec,
        detections=detections,
        flip=options.flip,
        progress=lambda batches, count: tqdm(batches, "evaluating", count, unit="batch", disable=None),
    )
    if options.results:
        write_results(options.results, found.results)
    figures = {name: None if math.isnan(figure) else figure for name, figure in found.figures.items()}
    conditions = {"metric": found.metric, "people": found.people, "boxes": options.boxes, "flip": options.flip}
    print(json.dumps({**conditions, "figures": figures}) if options.json else figures_table(found))
    return 0


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="a bundle's folder")
    parser.add_argument("source", type=Path, metavar="IMAGE|FOLDER", help="what to look at")
    parser.add_argument(
        "--boxes", type=Path, metavar="FILE", help="people: COCO JSON or xyxy JSON; else the whole image"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write keypoints.json and a picture for each image")
    parser.add_argument("--precision", default="fp32", help="which of the bundle's graphs (%(default)s)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 or auto (%(default)s)")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--flip", action="store_true", help="also run the mirror image: slower, steadier")
    parser.add_argument("--min-score", type=float, default=0.2, help="of a joint that is drawn (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the COCO results")


def _predict(options: argparse.Namespace) -> int:
    from .runtime.estimator import PoseEstimator
    from .runtime.predict import coco_results, list_images, predict_to_folder

    paths = list_images(options.source)
    estimator = PoseEstimator.open(
        options.bundle, options.precision, options.device, threads=options.threads, flip=options.flip
    )
    predictions = predict_to_folder(estimator, paths, options.boxes, options.out, options.min_score)
    if options.json:
        print(json.dumps(coco_results(predictions)))
        return 0
    people = sum(len(prediction.poses) for prediction in predictions)
    where = f", written to {options.out}" if options.out else "; --out DIR or --json shows them"
    print(f"{people} people in {len(predictions)} images by {estimator.session.device}{where}")
    return 0


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", type=Path, nargs="?", metavar="IMAGE|FOLDER", help="scikit-image's astronaut if absent"
    )
    parser.add_argument("--boxes", type=Path, metavar="FILE", help="people, as for predict")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder to fill (%(default)s)")


def _demo(options: argparse.Namespace) -> int:
    from .demo import demo

    return 0 if demo(options.out, options.source, options.boxes) else CHECK_FAILED


def _folders(text: str) -> list[Path]:
    return [Path(name) for name in text.split(",")]


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, such as 256x192")
    return int(height), int(width)


@dataclass(frozen=True)
class Command:
    """A sub-command."""

    name: str
    text: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


COMMANDS = (
    Command("info", "Parameters and multiply-adds by stage.", "lehrnet info hrnet_w32 --json", _add_info, _info),
    Command(
        "export",
        "Write a bundle from a checkpoint.",
        "lehrnet export weights.safetensors --out bundle",
        _add_export,
        _export,
    ),
    Command(
        "verify",
        "Prove a bundle's graphs equal to its weights.",
        "lehrnet verify bundle --data coco/",
        _add_verify,
        _verify,
    ),
    Command("pack", "Crop everyone once, for training.", "lehrnet pack coco/,lspe/ --out packed", _add_pack, _pack),
    Command(
        "train",
        "Train a network.",
        "lehrnet train --data coco/ --recipe short --time-budget 30 --out run",
        _add_train,
        _train,
    ),
    Command(
        "evaluate",
        "OKS AP on COCO, PCKh on MPII.",
        "lehrnet evaluate bundle --data coco/ --flip",
        _add_evaluate,
        _evaluate,
    ),
    Command(
        "predict",
        "Find the keypoints of people in images.",
        "lehrnet predict bundle photos/ --boxes people.json --out out/",
        _add_predict,
        _predict,
    ),
    Command("demo", "Export, verify and predict in one go.", "lehrnet demo photo.jpg --out demo", _add_demo, _demo),
)

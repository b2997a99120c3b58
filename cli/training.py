"""Commands for training and evaluation: data, pack, train, evaluate."""

import argparse
import json
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from .command import (
    CHECK_FAILED,
    Command,
    add_device,
    add_running,
    add_skeleton,
    folders,
    number,
    renamed,
    report_bad,
    shares,
    size,
    skeleton_of,
)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kind",
        choices=["synthetic", "moving"],
        help="synthetic: drawn figures on clutter, with exact labels; moving: a video of figures that cross, leave and "
        "come back, with exact identities",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="COCO data folder to write")
    parser.add_argument("--images", type=int, default=200, help="number of images or frames (%(default)s)")
    parser.add_argument("--people", type=int, default=4, help="for moving: number of figures (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)


def _data(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..pose.moving import write_moving
    from ..pose.synthetic import write_synthetic

    def progress(numbers: Iterable[int]) -> Iterable[int]:
        return tqdm(numbers, "drawing", unit="image", disable=None)

    if options.kind == "moving":
        people = write_moving(options.out, options.images, options.people, options.seed, progress)
    else:
        people = write_synthetic(options.out, options.images, options.seed, progress)
    print(f"{options.out}: {people} people in {options.images} images")
    return 0


def _add_pack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="FOLDER[,FOLDER]", help="COCO or MPII data folders")
    parser.add_argument("--out", type=Path, required=True, metavar="PACK", help="folder to write")
    parser.add_argument("--recipe", default="coco", help="recipe that defines the input size (%(default)s)")
    parser.add_argument("--size", type=size, metavar="HxW", help="input size; default: the recipe's")
    add_skeleton(parser, "that of the label files")
    parser.add_argument(
        "--split", help="split of the data folders, such as val2017 (default: the one that begins with train)"
    )


def _pack(options: argparse.Namespace) -> int:
    from ..files import refuse_inputs
    from ..training.run import pack_folders, recipe_named

    sources = folders(options.data)
    refuse_inputs({"--out": options.out}, [*sources])
    spec = recipe_named(options.recipe).spec
    if options.size:
        spec = replace(spec, input_size=options.size)
    packed = pack_folders(sources, options.out, spec, options.split, skeleton_of(options))
    without = f", without those of {len(packed.bad)} bad images" if packed.bad else ""
    print(f"{options.out}: {packed.people} people{without}")
    return CHECK_FAILED if packed.bad else 0


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", required=True, metavar="FOLDER[,FOLDER]|PACK", help="data folders, or a pack or its address"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder for checkpoints, log and state")
    parser.add_argument("--split", help="split of the data folders (default: the one that begins with train)")
    parser.add_argument("--recipe", default="coco", help="coco or mpii (of the paper), short or quick (%(default)s)")
    parser.add_argument("--network", metavar="VARIANT", help="variant, see `lehrnet info`; default: that of --start")
    parser.add_argument("--size", type=size, metavar="HxW", help="input size; default: the recipe's")
    add_skeleton(parser, "that of the data")
    parser.add_argument("--epochs", type=int, help="default: the recipe's")
    parser.add_argument("--batch", type=int, help="people per step; default: the recipe's")
    parser.add_argument("--lr", type=number, help="learning rate; default: the recipe's")
    renamed(parser, "--rate", "--lr", type=number)
    parser.add_argument(
        "--mix", type=shares, default={}, metavar="NAME=X,...", help="repetitions of each folder per epoch"
    )
    parser.add_argument(
        "--start", type=Path, metavar="CHECKPOINT", help="initial weights; --network may add EMA to them"
    )
    parser.add_argument(
        "--teacher", type=Path, metavar="CHECKPOINT|BUNDLE", help="a trained network whose heatmaps join the loss"
    )
    parser.add_argument("--teach", type=number, metavar="X", help="the teacher's share of the loss (0.5)")
    parser.add_argument("--resume", action="store_true", help="resume the run in --out")
    parser.add_argument("--time-budget", type=number, metavar="MINUTES", help="fit the schedule into this time")
    add_device(parser)
    parser.add_argument(
        "--accumulate", type=int, default=1, metavar="N", help="split each batch into N parts (gradient accumulation)"
    )
    parser.add_argument("--bf16", action="store_true", help="train in bfloat16 on a CPU with avx512_bf16 or AMX")
    parser.add_argument("--compile", action="store_true", help="use torch.compile, for GPUs; takes minutes to start")
    parser.add_argument("--no-fused-ops", action="store_true", help="do not use the fused CPU operators: slower")
    parser.add_argument("--tensorboard", action="store_true", help="log curves and heatmaps to RUN/tensorboard")
    parser.add_argument(
        "--validate-every", type=int, default=500, metavar="STEPS", help="steps between validations (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)


def _train(options: argparse.Namespace) -> int:
    from ..training.host import keep_pages, wait_without_spinning

    wait_without_spinning()  # before torch is loaded: its threads read this once
    keep_pages()

    from ..training.fetched import fetch_pack
    from ..training.run import Request, recipe_named, train
    from ..training.teacher import DEFAULT_TEACH
    from ..training.trainer import Run
    from .teaching import open_teacher

    recipe = recipe_named(options.recipe)
    changes = {name: value for name in ("epochs", "batch") if (value := getattr(options, name)) is not None}
    if options.teach is not None and options.teacher is None:
        raise ValueError(f"--teach is {options.teach}, but nobody teaches: name a --teacher")
    if options.teacher is not None:
        changes["teach"] = DEFAULT_TEACH if options.teach is None else options.teach
    if options.lr is not None:
        changes["learning_rate"] = options.lr
    if options.size:
        changes["spec"] = replace(recipe.spec, input_size=options.size)
    request = Request(
        data=(fetch_pack(options.data),) if "://" in options.data else tuple(folders(options.data)),
        recipe=replace(recipe, **changes),
        network=options.network,
        start=options.start,
        mix=options.mix,
        split=options.split,
        skeleton=skeleton_of(options),
        teacher=None if options.teacher is None else partial(open_teacher, options.teacher),
        resume=options.resume,
        tensorboard=options.tensorboard,
    )
    run = Run(
        options.out,
        options.seed,
        options.device,
        time_budget_s=60 * options.time_budget if options.time_budget is not None else None,
        accumulate=options.accumulate,
        bf16=options.bf16 or None,
        compiled=options.compile,
        fused_ops=not options.no_fused_ops,
        validate_every=options.validate_every,
    )
    best = train(request, run)
    held_out = "nobody was held out to judge on" if best < 0 else f"best held-out AP {best:.4f}"
    print(f"{options.out}: {held_out}")
    return 0


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        type=Path,
        nargs="?",
        help="a bundle, a checkpoint (.safetensors) or an ONNX file; default: the shipped weights",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--data", type=Path, metavar="FOLDER", help="COCO or MPII data folder")
    what.add_argument(
        "--tracks",
        type=Path,
        nargs=2,
        metavar=("TRUTH", "FOUND"),
        help="identities instead: tracks.json of `data moving`, and the JSON lines of `predict --track`",
    )
    parser.add_argument(
        "--boxes",
        default="gt",
        metavar="gt|FILE",
        help="boxes: those of the labels (gt) or a file of COCO detections (%(default)s)",
    )
    parser.add_argument(
        "--split", help="split of the data folder, such as val2017 (default: the one that begins with val)"
    )
    add_running(parser)
    parser.add_argument(
        "--flip", action="store_true", help="flip test: also run the mirrored crops; slower, more accurate"
    )
    parser.add_argument("--no-nms", action="store_true", help="do not apply OKS-NMS")
    parser.add_argument("--keypoints", type=Path, metavar="FILE", help="write the keypoints as COCO results")
    parser.add_argument(
        "--result", type=Path, metavar="FILE", help="write the metrics and the machine's properties as JSON"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _evaluate(options: argparse.Namespace) -> int:
    return _evaluate_tracks(options) if options.tracks else _evaluate_keypoints(options)


def _evaluate_tracks(options: argparse.Namespace) -> int:
    from ..benchmarks.results import write_result
    from ..files import refuse_inputs
    from ..pose.metrics import for_json
    from ..pose.tracks import read_tracks, track_metrics

    refuse_inputs({"--result": options.result}, options.tracks)
    truth, found = map(read_tracks, options.tracks)
    figures = for_json(track_metrics(truth, found))
    if options.result:
        write_result(options.result, "lehrnet evaluate --tracks TRUTH FOUND", {"tracks": figures})
    table = "\n".join(f"{name:10} {figure:.4g}" for name, figure in figures.items() if figure is not None)
    print(json.dumps(figures) if options.json else table)
    return 0


def _evaluate_keypoints(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..benchmarks.results import write_result
    from ..files import refuse_inputs
    from ..pose.evaluate import evaluate, metrics_table
    from ..pose.metrics import for_json
    from ..runtime.models import open_model
    from ..runtime.predict import write_results

    if options.model is None:
        from ..model.checkpoint import DEFAULT_WEIGHTS

        options.model = DEFAULT_WEIGHTS
    detections = None if options.boxes == "gt" else Path(options.boxes)
    outputs = {"--keypoints": options.keypoints, "--result": options.result}
    refuse_inputs(outputs, [options.model, options.data, detections])
    session, spec = open_model(
        options.model, options.artefact, options.device, options.threads, trust_engine=options.trust_engine
    )
    found = evaluate(
        session.run,
        options.data,
        spec,
        split=options.split,
        detections=detections,
        flip=options.flip,
        nms=not options.no_nms,
        progress=lambda batches, count: tqdm(batches, "evaluating", count, unit="batch", disable=None),
    )
    if options.keypoints:
        write_results(options.keypoints, found.results)
    conditions = {"metric": found.metric, "people": found.people, "boxes": options.boxes, "flip": options.flip}
    facts = {**conditions, "figures": for_json(found.figures), "joints": for_json(found.joints)}
    facts |= {"note": found.note, "labels": found.labels, "bad": [each.facts() for each in found.bad]}
    if options.result:
        write_result(options.result, "lehrnet evaluate MODEL --data FOLDER", facts)
    print(json.dumps(facts) if options.json else metrics_table(found))
    return report_bad(found.bad)


COMMANDS = (
    Command(
        "data",
        "Make a synthetic data set.",
        "lehrnet data synthetic --out synthetic/ --images 500",
        _add_data,
        _data,
    ),
    Command(
        "pack",
        "Crop all people of data folders into a pack for training.",
        "lehrnet pack coco/,lspe/ --out packed",
        _add_pack,
        _pack,
    ),
    Command(
        "train",
        "Train a network.",
        "lehrnet train --data coco/ --recipe short --time-budget 30 --out run",
        _add_train,
        _train,
    ),
    Command(
        "evaluate",
        "Compute OKS AP on COCO or PCKh on MPII.",
        "lehrnet evaluate bundle --data coco/ --flip",
        _add_evaluate,
        _evaluate,
    ),
)

"""Commands about learning: data, pack, train, evaluate."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from .command import CHECK_FAILED, Command, add_device, add_running, folders, number, renamed, report_bad, shares, size


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=["synthetic"], help="drawn figures on clutter, with exact labels")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the COCO data folder to write")
    parser.add_argument("--images", type=int, default=200, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0)


def _data(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..pose.synthetic import write_synthetic

    people = write_synthetic(
        options.out,
        options.images,
        options.seed,
        lambda numbers: tqdm(numbers, "drawing", unit="image", disable=None),
    )
    print(f"{options.out}: {people} people in {options.images} images")
    return 0


def _add_pack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="FOLDER[,FOLDER]", help="COCO or MPII data folders")
    parser.add_argument("--out", type=Path, required=True, metavar="PACK", help="the folder to write")
    parser.add_argument("--recipe", default="coco", help="whose input size and skeleton to pack for (%(default)s)")
    parser.add_argument("--split", help="of COCO's own layout, such as val2017 (the one that begins with train)")


def _pack(options: argparse.Namespace) -> int:
    from ..files import refuse_inputs
    from ..training.run import pack_folders, recipe_named

    sources = folders(options.data)
    refuse_inputs({"--out": options.out}, [*sources])
    packed = pack_folders(sources, options.out, recipe_named(options.recipe).spec, options.split)
    without = f", without those of {len(packed.bad)} bad pictures" if packed.bad else ""
    print(f"{options.out}: {packed.people} people{without}")
    return CHECK_FAILED if packed.bad else 0


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, metavar="FOLDER[,FOLDER]|PACK", help="data folders, or a pack")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="checkpoints, log and state")
    parser.add_argument("--split", help="of COCO's own layout (the one that begins with train)")
    parser.add_argument("--recipe", default="coco", help="the paper's: coco, mpii; ours: short, quick (%(default)s)")
    parser.add_argument("--network", metavar="VARIANT", help="see `lehrnet info`; --start's or the default if absent")
    parser.add_argument("--size", type=size, metavar="HxW", help="train on smaller crops than the recipe's")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--batch", type=int, help="instead of the recipe's")
    parser.add_argument("--lr", type=number, help="learning rate, instead of the recipe's")
    renamed(parser, "--rate", "--lr", type=number)
    parser.add_argument(
        "--mix", type=shares, default={}, metavar="NAME=X,...", help="how often an epoch shows a folder"
    )
    parser.add_argument(
        "--start", type=Path, metavar="CHECKPOINT", help="begin from these weights; --network may add EMA to them"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--time-budget", type=number, metavar="MINUTES", help="end the schedule by then")
    add_device(parser)
    parser.add_argument("--accumulate", type=int, default=1, metavar="N", help="pieces of a batch, to save memory")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 on a CPU that has it (avx512_bf16, AMX)")
    parser.add_argument("--compile", action="store_true", help="torch.compile: minutes to start, for GPUs")
    parser.add_argument("--no-fused-ops", action="store_true", help="on a CPU, PyTorch's operators alone: slower")
    parser.add_argument("--tensorboard", action="store_true", help="curves and heatmaps in RUN/tensorboard")
    parser.add_argument("--validate-every", type=int, default=500, metavar="STEPS", help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0)


def _train(options: argparse.Namespace) -> int:
    from ..training.host import keep_pages, wait_without_spinning

    wait_without_spinning()  # before torch is loaded: its threads read this once
    keep_pages()

    from ..training.run import Request, recipe_named, train
    from ..training.trainer import Run

    recipe = recipe_named(options.recipe)
    changes = {name: value for name in ("epochs", "batch") if (value := getattr(options, name)) is not None}
    if options.lr is not None:
        changes["learning_rate"] = options.lr
    if options.size:
        changes["spec"] = replace(recipe.spec, input_size=options.size)
    request = Request(
        data=tuple(folders(options.data)),
        recipe=replace(recipe, **changes),
        network=options.network,
        start=options.start,
        mix=options.mix,
        split=options.split,
        resume=options.resume,
        tensorboard=options.tensorboard,
    )
    run = Run(
        options.out,
        options.seed,
        options.device,
        time_budget_s=60 * options.time_budget if options.time_budget is not None else None,
        accumulate=options.accumulate,
        bf16=options.bf16,
        compiled=options.compile,
        fused_ops=not options.no_fused_ops,
        validate_every=options.validate_every,
    )
    best = train(request, run)
    print(f"{options.out}: best held-out AP {best:.4f}")
    return 0


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        type=Path,
        nargs="?",
        help="a bundle, a checkpoint (.safetensors) or an ONNX file; the shipped weights if absent",
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="COCO or MPII data folder")
    parser.add_argument(
        "--boxes", default="gt", metavar="gt|FILE", help="labels' boxes or COCO detections (%(default)s)"
    )
    parser.add_argument("--split", help="of COCO's own layout, such as val2017 (the one that begins with val)")
    add_running(parser)
    parser.add_argument("--flip", action="store_true", help="also run the mirror image: slower, more accurate")
    parser.add_argument("--no-nms", action="store_true", help="keep people who were found twice")
    parser.add_argument("--keypoints", type=Path, metavar="FILE", help="keep the keypoints as COCO results")
    parser.add_argument("--result", type=Path, metavar="FILE", help="keep the figures with the machine's facts")
    parser.add_argument("--json", action="store_true", help="for machines")


def _evaluate(options: argparse.Namespace) -> int:
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
    facts |= {"labels": found.labels, "bad": [each.facts() for each in found.bad]}
    if options.result:
        write_result(options.result, "lehrnet evaluate MODEL --data FOLDER", facts)
    print(json.dumps(facts) if options.json else metrics_table(found))
    return report_bad(found.bad)


COMMANDS = (
    Command(
        "data",
        "Make a data set.",
        "lehrnet data synthetic --out synthetic/ --images 500",
        _add_data,
        _data,
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
)

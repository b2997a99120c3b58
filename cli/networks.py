"""Commands for networks and bundles: info, export, finetune, verify."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from .command import CHECK_FAILED, Command, bundle_or_default, number, renamed, size, skeleton_of

if TYPE_CHECKING:
    from ..runtime.bundle import Bundle


def _add_info(parser: argparse.ArgumentParser) -> None:
    from ..model.config import DEFAULT_VARIANT, VARIANTS, NetworkConfig
    from ..pose.spec import PoseSpec

    parser.add_argument("variant", nargs="?", default=DEFAULT_VARIANT, help=f"one of {', '.join(VARIANTS)}")
    parser.add_argument(
        "--size", type=size, default=PoseSpec.input_size, metavar="HxW", help="input size, px (256x192)"
    )
    parser.add_argument("--joints", type=int, default=NetworkConfig.joints, help="number of joints (%(default)s)")
    parser.add_argument(
        "--result", type=Path, metavar="FILE", help="write the figures and the machine's properties as JSON"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _info(options: argparse.Namespace) -> int:
    from ..benchmarks.info import describe, describe_text
    from ..benchmarks.results import write_result

    facts = describe(options.variant, options.size, options.joints)
    if options.result:
        write_result(options.result, f"lehrnet info {options.variant}", facts)
    print(json.dumps(facts, indent=2) if options.json else describe_text(facts))
    return 0


def _add_export(parser: argparse.ArgumentParser) -> None:
    from ..export.precisions import PRECISIONS
    from .calibrating import add_calibration, add_checkpoint
    from .web import add_web

    add_checkpoint(parser)
    parser.add_argument("--untrained", action="store_true", help="random weights instead of a checkpoint")
    parser.add_argument("--joints", type=int, help="refuse a checkpoint with another number of joints")
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder to write")
    parser.add_argument(
        "--precisions",
        metavar="NAMES",
        help=f"comma-separated: {', '.join(PRECISIONS)} (fp32, and native_fp32 where lehrnet's library is)",
    )
    parser.add_argument(
        "--forms", action="store_true", help="add equal forms of FP32 and FP16 for `lehrnet tune` to choose from"
    )
    parser.add_argument(
        "--whole", action="store_true", help="add graphs from frames to keypoints and from crops to keypoints"
    )
    add_web(parser)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="data folder to verify on, instead of noise")
    add_calibration(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing bundle")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _export(options: argparse.Namespace) -> int:
    from ..export.package import default_precisions, export_bundle, open_checkpoint
    from ..export.precisions import equal_forms
    from ..export.verify import photograph_crops
    from ..files import refuse_inputs
    from .calibrating import calibration_of, inputs_of, progress
    from .web import web_runtime

    refuse_inputs({"--out": options.out}, [*inputs_of(options), options.data])
    runtime = web_runtime(options)
    checkpoint = open_checkpoint(
        options.checkpoint,
        network=options.network,
        joints=options.joints,
        untrained=options.untrained,
        size=options.size,
        decode=options.decode,
        frame=options.frame,
        skeleton=skeleton_of(options),
    )
    crops = photograph_crops(options.data, checkpoint.spec) if options.data else None
    precisions = options.precisions.split(",") if options.precisions else default_precisions()
    bundle = export_bundle(
        checkpoint,
        options.out,
        precisions=[*precisions, *(equal_forms(precisions) if options.forms else ())],
        calibration=calibration_of(options),
        whole=options.whole,
        web=runtime,
        crops=crops,
        overwrite=options.overwrite,
        progress=progress,
    )
    say_bundle(bundle, as_json=options.json)
    return 0


def say_bundle(bundle: "Bundle", *, as_json: bool) -> None:
    """Print a written bundle's ladder, and what of it is in INT8."""
    from ..calibration.budget import Int8Choice
    from ..export.report import parity_table
    from ..export.verify import rungs_of

    if as_json:
        measured = {name: dict(artefact.measured) for name, artefact in bundle.artefacts.items() if artefact.measured}
        print(json.dumps({"bundle": str(bundle.root), "variant": bundle.variant, "measured": measured}))
        return
    print(f"{bundle.root}: {bundle.variant}{'' if bundle.trained else ', untrained'}")
    print(parity_table(rungs_of(bundle)))
    choices = ((name, Int8Choice.of(artefact.measured)) for name, artefact in bundle.artefacts.items())
    for name, choice in ((name, choice) for name, choice in choices if choice is not None):
        print(f"{name}: {len(choice.units)} units, {choice.int8_macs:.1%} of multiply-adds")


def _add_finetune(parser: argparse.ArgumentParser) -> None:
    from ..calibration.finetune import Tuning
    from .calibrating import add_calibration, add_checkpoint

    add_checkpoint(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="CHECKPOINT", help=".safetensors file to write")
    parser.add_argument("--steps", type=int, default=Tuning.steps, help="number of steps (%(default)s)")
    parser.add_argument("--batch", type=int, default=Tuning.batch, help="people per step (%(default)s)")
    parser.add_argument("--lr", type=number, default=Tuning.learning_rate, help="learning rate (%(default)s)")
    renamed(parser, "--rate", "--lr", type=number)
    add_calibration(parser)
    parser.add_argument(
        "--result", type=Path, metavar="FILE", help="write the figures and the machine's properties as JSON"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _finetune(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..benchmarks.results import write_result
    from ..calibration.finetune import Tuning
    from ..export.finetune import finetune_checkpoint
    from ..export.package import open_checkpoint
    from ..files import refuse_inputs
    from .calibrating import calibration_of, inputs_of, progress

    tuning = Tuning(options.steps, options.batch, options.lr, options.seed)
    refuse_inputs({"--out": options.out, "--result": options.result}, inputs_of(options))
    checkpoint = open_checkpoint(
        options.checkpoint,
        network=options.network,
        size=options.size,
        decode=options.decode,
        frame=options.frame,
        skeleton=skeleton_of(options),
    )
    with tqdm(total=tuning.steps, desc="fine-tuning", unit="step", disable=None) as bar:

        def watch(step: int, loss: float) -> None:
            bar.update(step + 1 - bar.n)
            bar.set_postfix(loss=f"{loss:.2e}", refresh=False)

        drifts = finetune_checkpoint(
            checkpoint, options.out, calibration_of(options), tuning, progress=progress, watch=watch
        )
    facts = {name: drift.facts() for name, drift in zip(("before", "after"), drifts, strict=True)}
    if options.result:
        noted = {**facts, "note": checkpoint.spec.skeleton.oks_note}
        write_result(options.result, "lehrnet finetune --calibration FOLDER --out CHECKPOINT", noted)
    if options.json:
        print(json.dumps(facts))
    else:
        print(f"{options.out}: all units in INT8, against the original FP32 network")
        for name, drift in zip(("before", "after"), drifts, strict=True):
            ap = "" if drift.ap is None else f", AP {drift.ap:.4f} of {drift.reference_ap:.4f}"
            print(f"  {name:6} OKS drop {drift.oks_drop:.4f}, p99 {drift.p99_px:.1f} px{ap}")
    return 0


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, nargs="?", help="a bundle; default: that of the shipped weights")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="data folder to verify on; default: noise")
    parser.add_argument(
        "--result", type=Path, metavar="FILE", help="write the figures and the machine's properties as JSON"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _verify(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..benchmarks.results import write_result
    from ..export.report import parity_table
    from ..export.verify import photograph_crops, verify_bundle
    from ..files import refuse_inputs
    from ..runtime.bundle import open_bundle

    root = bundle_or_default(options.bundle)
    refuse_inputs({"--result": options.result}, [root, options.data])
    bundle = open_bundle(root)
    crops = photograph_crops(options.data, bundle.spec) if options.data else None
    crops = crops and tqdm(crops, desc="verifying", unit="batch", disable=None)  # None: only on a terminal
    ladder = verify_bundle(bundle, crops)
    facts = [rung.facts() for rung in ladder]
    if options.result:
        write_result(
            options.result,
            "lehrnet verify BUNDLE --data FOLDER",
            {"variant": bundle.variant, "ladder": facts, "note": bundle.spec.skeleton.oks_note},
        )
    print(json.dumps(facts) if options.json else parity_table(ladder))
    return 0 if all(rung.passed for rung in ladder) else CHECK_FAILED


def _add_extract(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, nargs="?", help="a bundle; default: that of the shipped weights")
    parser.add_argument("--artefacts", required=True, metavar="NAMES", help="artefacts to keep, comma-separated")
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing bundle")


def _extract(options: argparse.Namespace) -> int:
    from ..files import refuse_inputs
    from ..runtime.bundle import extract, open_bundle

    root = bundle_or_default(options.bundle)
    refuse_inputs({"--out": options.out}, [root])
    names = options.artefacts.split(",")
    found = extract(open_bundle(root), names, options.out, overwrite=options.overwrite)
    size = sum(artefact.bytes for artefact in found.artefacts.values())
    print(f"{found.root}: {', '.join(found.artefacts)}, {size / 1e6:.1f} MB")
    return 0


COMMANDS = (
    Command("info", "Show parameters and multiply-adds by stage.", "lehrnet info hrnet_w32 --json", _add_info, _info),
    Command(
        "export",
        "Export a checkpoint to a bundle.",
        "lehrnet export weights.safetensors --out bundle --precisions fp32,fp16,int8 --calibration coco/",
        _add_export,
        _export,
    ),
    Command(
        "finetune",
        "Fine-tune a network with simulated quantization (QAT) to reduce the accuracy drop of INT8.",
        "lehrnet finetune weights.safetensors --calibration coco/ --out tuned.safetensors",
        _add_finetune,
        _finetune,
    ),
    Command(
        "verify",
        "Compare a bundle's graphs with its PyTorch weights.",
        "lehrnet verify bundle --data coco/",
        _add_verify,
        _verify,
    ),
    Command(
        "extract",
        "Write a smaller bundle with some of a bundle's artefacts, for a device.",
        "lehrnet extract bundle --artefacts native_fp32 --out device_bundle",
        _add_extract,
        _extract,
    ),
)

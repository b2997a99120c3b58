"""The command for speed measurements: bench."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import refuse_inputs
from .command import CHECK_FAILED, Command, add_device, add_trust, bundle_or_default, number, renamed, size

if TYPE_CHECKING:
    from ..benchmarks.latency import Subject


MAX_NUMBER = 4096  # of people or streams at once


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "bundles", type=Path, nargs="*", metavar="BUNDLE", help="bundles; default: that of the shipped weights"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--training", type=Path, metavar="PACK", help="measure training steps and the loader on a pack")
    what.add_argument(
        "--paper", action="store_true", help="measure cost and latency of all networks in the paper's tables"
    )
    what.add_argument(
        "--compare",
        type=Path,
        nargs=2,
        metavar=("OLD", "NEW"),
        help="compare two results; exit code 1 if a figure got worse",
    )
    what.add_argument(
        "--video", type=Path, metavar="FILE", help="measure a video: stages, age of results under load, several streams"
    )
    parser.add_argument("--artefacts", default="auto", help="artefacts of the bundles, comma-separated (%(default)s)")
    renamed(parser, "--precisions", "--artefacts")
    parser.add_argument(
        "--batch", help="people per frame, comma-separated (1,8); with --training: people per step (32)"
    )
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="for --paper: data folder to evaluate the shipped weights on"
    )
    parser.add_argument("--networks", help="for --paper: variants and rivals, comma-separated (all)")
    parser.add_argument("--rounds", type=int, default=20, help="interleaved rounds after a warm-up (%(default)s)")
    parser.add_argument("--frames", type=int, default=100, help="for --video: at most so many (%(default)s)")
    parser.add_argument("--detector", type=Path, metavar="ONNX", help="for --video: person detector (one is followed)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="for --video: detect in every Nth frame")
    parser.add_argument("--threads", type=int, help="number of CPU threads")
    add_trust(parser)
    parser.add_argument(
        "--streams", metavar="N,N", help="numbers of parallel streams for the throughput (1,2,4... up to the cores)"
    )
    parser.add_argument(
        "--variants", default="lehrnet_w32,lehrnet_w32_lean", help="for --training: variants (%(default)s)"
    )
    parser.add_argument(
        "--size", type=size, default=(128, 96), metavar="HxW", help="for --training: input size (128x96)"
    )
    parser.add_argument("--steps", type=int, default=5, help="for --training: steps after a warm-up (%(default)s)")
    parser.add_argument("--bf16", action="store_true", help="for --training: bfloat16, as in `lehrnet train`")
    add_device(parser)
    parser.add_argument(
        "--result", type=Path, metavar="FILE", help="write the figures and the machine's properties as JSON"
    )
    parser.add_argument(
        "--sustained", type=number, metavar="MIN", help="also measure the sustained rate over this many minutes"
    )
    parser.add_argument("--power-modes", metavar="M,M", help="with --sustained on a Jetson: nvpmodel modes to measure")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write an HTML report of the figures and of --results"
    )
    parser.add_argument("--results", type=Path, nargs="+", default=[], metavar="FILE", help="more results for --html")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _bench(options: argparse.Namespace) -> int:
    if options.compare:
        return _compare(options)
    outputs = {"--result": options.result, "--html": options.html}
    inputs = [options.training, options.data, options.video, options.detector]
    refuse_inputs(outputs, [*options.bundles, *inputs, *options.results])
    if options.training:
        return _training(options)
    if options.paper:
        return _paper(options)
    if options.video:
        return _video(options)
    return _latency(options)


def _latency(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..benchmarks import saturated, sustained
    from ..benchmarks.latency import describe, measure, open_subjects
    from ..benchmarks.machine import core_count

    if options.sustained is not None and options.sustained <= 0:
        raise ValueError(f"--sustained is {options.sustained}, expected minutes above 0")
    batches = _whole_numbers(options.batch or "1,8")
    streams = _whole_numbers(options.streams) if options.streams else saturated.stream_counts(core_count())
    bundles = options.bundles or [bundle_or_default(None, options.artefacts)]
    trust = options.trust_engine
    artefacts = options.artefacts.split(",")
    subjects = open_subjects(bundles, artefacts, options.device, options.threads, trust_engine=trust)
    facts = measure(
        subjects, batches, options.rounds, lambda rounds: tqdm(rounds, "timing", unit="round", disable=None)
    )
    text = [describe(facts)]
    first = subjects[0]
    device = first.estimator.session.device
    facts["saturated"] = saturated.measure(
        first.bundle,
        first.artefact,
        device,
        people=batches[0],
        streams=streams,
        trust_engine=trust,
    )
    text.append(f"{first.name}: {saturated.describe(facts['saturated'])}")
    text += _steps(first, facts)
    text += _atlas(options, first, max(batches), facts)
    if options.sustained is not None:
        facts["sustained"] = _sustained(options, first, batches[0])
        text += [f"{name}: {sustained.describe(kept)}" for name, kept in facts["sustained"].items()]
    _keep(options, "lehrnet bench BUNDLE", facts)
    print(json.dumps(facts, indent=2) if options.json else "\n\n".join(text))
    return 0


def _steps(subject: "Subject", facts: dict[str, Any]) -> list[str]:
    """Measure the steps of a network on our own engine, add them to the facts and return them as text."""
    from ..benchmarks import engine_steps
    from ..runtime.backends.native import NativeSession

    session = subject.estimator.session
    if not isinstance(session, NativeSession):
        return []
    facts["engine_steps"] = engine_steps.measure(session)
    return [f"{subject.name}: {engine_steps.describe(facts['engine_steps'])}"]


def _atlas(options: argparse.Namespace, subject: "Subject", batch: int, facts: dict[str, Any]) -> list[str]:
    """Measure the atlas, add it to the facts and return it as text, or the reason why it is missing."""
    if "fp32" not in subject.bundle.artefacts or subject.estimator.session.device != "cpu":
        return ["no atlas: it needs an FP32 graph on the CPU"]
    try:
        from ..benchmarks import atlas
        from ..model.config import VARIANTS
    except ImportError as error:
        return [f"no atlas: {error}"]
    known = VARIANTS.get(subject.bundle.variant)
    light = known is None or known.light_convs
    facts["atlas"] = atlas.measure(subject.bundle.path("fp32"), batch, options.threads, light=light)
    return [atlas.describe(facts["atlas"])]


def _sustained(options: argparse.Namespace, subject: "Subject", people: int) -> dict[str, Any]:
    """Sustained rate by power mode, or in the current mode."""
    from ..benchmarks import sustained

    def run() -> dict[str, Any]:
        return sustained.measure(subject, people, options.sustained)

    if options.power_modes is None:
        return {subject.name: run()}
    modes = [int(mode) for mode in options.power_modes.split(",") if mode.isdecimal()]
    if not modes:
        raise ValueError(f"power modes are {options.power_modes!r}, expected nvpmodel's numbers, such as 0,1")
    return sustained.over_power_modes(modes, run)


def _keep(options: argparse.Namespace, command: str, facts: dict[str, Any]) -> None:
    """Write the result and the HTML report if asked for."""
    from ..benchmarks.compare import read_result
    from ..benchmarks.results import result_of, write_result

    if options.result:
        write_result(options.result, command, facts)
    if options.html:
        from ..benchmarks.page import write_page

        others = {path.stem: read_result(path) for path in options.results}
        write_page(options.html, {"this machine": result_of(command, facts), **others})


def _training(options: argparse.Namespace) -> int:
    from ..training.host import wait_without_spinning

    wait_without_spinning()  # before torch is loaded, as `train` does

    from ..benchmarks.results import write_result
    from ..benchmarks.training import describe, measure
    from ..model.device import choose_device

    (batch,) = _whole_numbers(options.batch or "32")[:1]
    if options.steps < 1:
        raise ValueError(f"steps is {options.steps}, expected at least 1")
    facts = measure(
        options.training,
        options.variants.split(","),
        size=options.size,
        batch=batch,
        steps=options.steps,
        device=choose_device(options.device),
        bf16=options.bf16 or None,
    )
    if options.result:
        write_result(options.result, "lehrnet bench --training PACK" + " --bf16" * options.bf16, facts)
    print(json.dumps(facts, indent=2) if options.json else describe(facts))
    return 0


def _paper(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..benchmarks.paper_card import OURS, markdown, measure, shipped_accuracy
    from ..benchmarks.rivals import RIVALS

    names = options.networks.split(",") if options.networks else [*OURS, *RIVALS]
    facts = measure(
        names,
        _whole_numbers(options.batch or "1,8"),
        options.rounds,
        options.threads,
        lambda things, what: tqdm(things, what, disable=None),
    )
    if options.data:
        facts["shipped"] = shipped_accuracy(options.data)
    _keep(options, "lehrnet bench --paper", facts)
    print(json.dumps(facts, indent=2) if options.json else markdown(facts))
    return 0


def _video(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..benchmarks.results import write_result
    from ..benchmarks.video import Subject, describe, measure
    from ..runtime.detect import PersonDetector
    from ..runtime.estimator import PoseEstimator

    bundle = options.bundles[0] if options.bundles else bundle_or_default(None, options.artefacts)
    artefact = options.artefacts.split(",")[0]
    if len(options.bundles) > 1 or "," in options.artefacts:
        raise ValueError("--video measures one artefact of one bundle, and several were given")
    detector = None
    if options.detector is not None:
        detector = PersonDetector.open(options.detector, device=options.device, threads=options.threads)
    if options.every < 1:
        raise ValueError(f"--every is {options.every}, expected at least 1")
    estimator = PoseEstimator.open(
        bundle, artefact, options.device, threads=options.threads, trust_engine=options.trust_engine
    )
    facts = measure(
        Subject(estimator, detector, options.every),
        options.video,
        options.frames,
        lambda numbers: tqdm(numbers, "timing", options.frames, unit="frame", disable=None),
    )
    if options.result:
        write_result(options.result, "lehrnet bench BUNDLE --video FILE", {"tracking": facts})
    print(json.dumps(facts, indent=2) if options.json else describe(facts))
    return 0


def _compare(options: argparse.Namespace) -> int:
    from ..benchmarks.compare import compare, read_result

    changes = compare(*map(read_result, options.compare))
    if options.json:
        print(json.dumps([{**vars(change), "worse": change.worse} for change in changes]))
    else:
        print("\n".join(map(str, changes)))
    return CHECK_FAILED if any(change.worse for change in changes) else 0


def _whole_numbers(text: str) -> list[int]:
    """Parse "1,8"; ValueError unless all numbers are from 1 to MAX_NUMBER."""
    numbers = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if not 1 <= min(numbers) <= max(numbers) <= MAX_NUMBER:
        raise ValueError(f"batch is {text!r}, expected whole numbers from 1 to {MAX_NUMBER}, such as 1,8")
    return numbers


COMMANDS = (
    Command(
        "bench",
        "Measure latency by stage, throughput and training speed; compare results.",
        "lehrnet bench bundle --artefacts fp32,int8_cpu --batch 1,8 --result new.json",
        _add_bench,
        _bench,
    ),
)

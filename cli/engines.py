"""Commands for devices and engines: build-engine, tune, doctor."""

import argparse
import json
from pathlib import Path
from typing import Any

from .command import CHECK_FAILED, Command, add_device, add_trust, renamed


def _add_build_engine(parser: argparse.ArgumentParser) -> None:
    from ..runtime.inputs import BUCKETS

    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--artefact", default="fp16", metavar="NAME", help="graph to build from (%(default)s)")
    renamed(parser, "--precision", "--artefact")
    parser.add_argument(
        "--library",
        choices=("auto", "tensorrt", "tensorrt-rtx"),
        default="auto",
        help="auto: TensorRT if installed, else TensorRT-RTX",
    )
    buckets = ",".join(map(str, BUCKETS))
    parser.add_argument("--batches", default=buckets, help="largest batch of each optimization profile (%(default)s)")
    parser.add_argument(
        "--workspace", type=int, metavar="MIB", help="memory limit of the builder (default: the library's)"
    )
    parser.add_argument(
        "--version-compatible",
        action="store_true",
        help="allow later versions of the same major version to run the engine",
    )
    tensorrt = parser.add_argument_group("TensorRT")
    tensorrt.add_argument(
        "--hardware-compatibility",
        choices=("none", "ampere_plus", "same_compute_capability"),
        default="none",
        help="other GPUs that may run the engine (%(default)s)",
    )
    tensorrt.add_argument(
        "--dla-core", type=int, metavar="CORE", help="run on this DLA core of an AGX Orin or Xavier, with GPU fallback"
    )
    renamed(tensorrt, "--hardware", "--hardware-compatibility")
    renamed(tensorrt, "--dla", "--dla-core", type=int)
    tensorrt.add_argument("--timing-cache", type=Path, metavar="FILE", help="timing cache to read and update")
    rtx = parser.add_argument_group("TensorRT-RTX, which builds without a GPU")
    rtx.add_argument(
        "--capabilities", metavar="C,C", help="compute capabilities, such as 8.6,8.9,12.0 (default: all from 8.0)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _build_engine(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..export.engine import add_engine
    from ..export.trt_library import Settings, load_library
    from ..runtime.bundle import open_bundle

    settings = Settings(
        batches=tuple(int(part) if part.isdecimal() else 0 for part in options.batches.split(",")),
        workspace_mib=options.workspace,
        capabilities=tuple(options.capabilities.split(",")) if options.capabilities else (),
        hardware=options.hardware_compatibility,
        version_compatible=options.version_compatible,
        dla_core=options.dla_core,
        timing_cache=options.timing_cache,
    )
    library = load_library(options.library.replace("-", "_"))

    def show(phase: str, steps: int) -> Any:
        return tqdm(total=steps, desc=phase, disable=None)

    name = add_engine(options.bundle, options.artefact, settings, library, show)
    artefact = open_bundle(options.bundle).artefacts[name]
    if options.json:
        print(json.dumps({"name": name, "file": artefact.file, "bytes": artefact.bytes, **artefact.measured}))
    else:
        seconds, layers = artefact.measured["seconds"], artefact.measured["layers"]
        print(f"{name}: {artefact.file}, {artefact.bytes / 1e6:.1f} MB, {layers} layers, {seconds} s")
    return 0


def _add_tune(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle, ideally exported with --forms")
    parser.add_argument(
        "--precision", default="fp32", help="precision of the graphs and engines to compare (%(default)s)"
    )
    add_device(parser)
    parser.add_argument("--batch", type=int, default=8, help="people per batch (%(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="interleaved rounds after a warm-up (%(default)s)")
    parser.add_argument("--threads", type=int, help="number of CPU threads")
    add_trust(parser)
    parser.add_argument(
        "--result", type=Path, metavar="FILE", help="write the figures and the machine's properties as JSON"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _tune(options: argparse.Namespace) -> int:
    from ..benchmarks.results import write_result
    from ..benchmarks.tune import describe, tune
    from ..files import refuse_inputs

    refuse_inputs({"--result": options.result}, [options.bundle])
    facts = tune(
        options.bundle,
        precision=options.precision,
        device=options.device,
        batch=options.batch,
        rounds=options.rounds,
        threads=options.threads,
        trust_engine=options.trust_engine,
    )
    if options.result:
        write_result(options.result, "lehrnet tune BUNDLE", facts)
    print(json.dumps(facts, indent=1) if options.json else describe(facts))
    return 0


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "bundle", type=Path, nargs="?", metavar="BUNDLE", help="check which files of this bundle run here"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    server = parser.add_argument_group("a server, in place of this machine")
    server.add_argument("--triton", metavar="URL", help="ask its model for one answer, as http://127.0.0.1:8000")
    server.add_argument("--model", default="pose", metavar="NAME", help="the model (%(default)s)")
    server.add_argument(
        "--load-again", action="store_true", help="unload and load a model that does not answer (explicit control mode)"
    )


def _doctor_of_a_server(options: argparse.Namespace) -> int:
    """Whether a model on Triton answers; 1 if it does not."""
    from ..serving.health import check_answers, load_again

    server, model = options.triton, options.model
    try:
        print(f"ok      {model} on {server} answers in {check_answers(server, model):.0f} ms")
        return 0
    except RuntimeError as error:
        print(f"missing {model} on {server}: {error}")
        if not options.load_again:
            return CHECK_FAILED
    load_again(server, model)
    print(f"ok      {model} on {server} was loaded again")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from ..runtime.doctor import examine, examine_bundle

    if options.triton is not None:
        return _doctor_of_a_server(options)
    findings = examine()
    if options.bundle is not None:
        findings += examine_bundle(options.bundle)
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            mark = "ok     " if finding.works else "missing"
            print(f"{mark} {finding.name:22} {finding.found}" + (f"\n{'':30} {finding.fix}" if finding.fix else ""))
    return 0 if any(finding.works and finding.backend for finding in findings) else CHECK_FAILED


COMMANDS = (
    Command(
        "build-engine",
        "Build a TensorRT engine from a bundle's graph and add it to the bundle.",
        "lehrnet build-engine bundle --artefact fp16 --library tensorrt-rtx --capabilities 8.9",
        _add_build_engine,
        _build_engine,
    ),
    Command(
        "tune",
        "Time a bundle's equal graphs on this device and store the fastest as artefact `fastest`.",
        "lehrnet tune bundle --device cpu --batch 1",
        _add_tune,
        _tune,
    ),
    Command(
        "doctor",
        "Check which backends work on this machine, and how to fix the others.",
        "lehrnet doctor bundle",
        _add_doctor,
        _doctor,
    ),
)

"""Commands for many: serve (a model repository for Triton)."""

import argparse
from pathlib import Path

from .command import Command, add_trust, bundle_or_default, number

TRITON = "triton"


def _add_serve(parser: argparse.ArgumentParser) -> None:
    from typing import get_args

    from ..serving.triton_config import Backend, Serving

    parser.add_argument("server", choices=[TRITON], help="what serves")
    parser.add_argument("bundle", type=Path, nargs="?", help="a bundle; default: that of the shipped weights")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="REPOSITORY", help="model repository to write, or add to"
    )
    parser.add_argument("--name", default=Serving.name, help="the model's name (%(default)s)")
    parser.add_argument(
        "--backend",
        choices=get_args(Backend),
        default=Serving.backend,
        help="python: frames and boxes, joined into batches; onnxruntime, tensorrt: a graph or an engine (%(default)s)",
    )
    parser.add_argument(
        "--artefact", default=Serving.artefact, metavar="NAME", help="artefact of the bundle to run (%(default)s)"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default=Serving.device, help="(%(default)s)")
    parser.add_argument("--instances", type=int, default=Serving.instances, help="processes of the model (%(default)s)")
    parser.add_argument("--threads", type=int, help="CPU threads of an instance (the cores, divided among instances)")
    parser.add_argument(
        "--max-batch", type=int, default=Serving.max_batch, metavar="N", help="most frames in a batch (%(default)s)"
    )
    parser.add_argument(
        "--delay", type=number, default=Serving.delay_ms, metavar="MS", help="wait for others this long (%(default)s)"
    )
    parser.add_argument(
        "--queue", type=int, default=Serving.queue, metavar="N", help="most frames that wait (%(default)s)"
    )
    parser.add_argument(
        "--deadline",
        type=number,
        default=Serving.deadline_ms,
        metavar="MS",
        help="reject a frame that waited longer (%(default)s)",
    )
    parser.add_argument(
        "--max-people", type=int, default=Serving.max_people, metavar="N", help="most people on a frame (%(default)s)"
    )
    parser.add_argument("--log-json", action="store_true", help="the model prints one line of JSON for each batch")
    add_trust(parser)


def _serve(options: argparse.Namespace) -> int:
    from ..serving.triton import write_repository
    from ..serving.triton_config import Serving

    serving = Serving(
        name=options.name,
        backend=options.backend,
        artefact=options.artefact,
        device=options.device,
        instances=options.instances,
        threads=options.threads,
        max_batch=options.max_batch,
        delay_ms=options.delay,
        queue=options.queue,
        deadline_ms=options.deadline,
        max_people=options.max_people,
        log_json=options.log_json,
    )
    bundle = bundle_or_default(options.bundle, options.artefact)
    written = write_repository(bundle, options.out, serving, trust_engine=options.trust_engine)
    was = "version" if written.new else "still version"
    served = f"tritonserver --model-repository={options.out}"
    print(f"{written.model}: {was} {written.version}, bundle {written.sha256[:12]}; now: {served}")
    return 0


COMMANDS = (
    Command(
        "serve",
        "Write a model repository for the Triton server.",
        "lehrnet serve triton bundle --out repository && tritonserver --model-repository=repository",
        _add_serve,
        _serve,
    ),
)

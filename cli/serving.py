"""Commands for many: serve (a model repository for Triton), batch (archives)."""

import argparse
from pathlib import Path

from .command import CHECK_FAILED, Command, add_trust, bundle_or_default, number

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


def _add_batch(parser: argparse.ArgumentParser) -> None:
    from typing import get_args

    from ..pose.pictures import MAX_PIXELS
    from ..serving.batch.archive import PART_PICTURES, SEGMENT_S
    from ..serving.batch.parts import FORMS
    from ..serving.batch.run import Engine
    from .command import add_running
    from .following import add_detector

    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="folder of pictures and videos, a video, or an fsspec address as s3://bucket/folder",
    )
    parser.add_argument("--bundle", type=Path, help="a bundle; default: that of the shipped weights")
    parser.add_argument("--out", type=Path, required=True, metavar="RESULTS", help="folder to fill, or to go on with")
    parser.add_argument("--format", choices=FORMS, default=FORMS[0], help="of the parts (%(default)s)")
    parser.add_argument(
        "--engine", choices=get_args(Engine), default="local", help="what runs the workers (%(default)s)"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes, or Ray's actors (%(default)s)")
    parser.add_argument(
        "--gpus", type=number, default=0.0, metavar="N", help="GPUs of each of Ray's actors (%(default)s)"
    )
    parser.add_argument("--boxes", type=Path, metavar="FILE", help="person boxes, as for predict")
    parser.add_argument("--person-category", type=int, metavar="ID", help="person category of detections, if not 1")
    parser.add_argument("--part", type=int, default=PART_PICTURES, metavar="N", help="pictures of a part (%(default)s)")
    parser.add_argument(
        "--segment", type=number, default=SEGMENT_S, metavar="S", help="seconds of a video's part (%(default)s)"
    )
    parser.add_argument(
        "--max-pixels", type=int, default=MAX_PIXELS, metavar="N", help="refuse larger images (%(default)s)"
    )
    parser.add_argument(
        "--log-json", action="store_true", help="print one line of JSON for each part, to standard error"
    )
    add_running(parser)
    add_detector(parser)


def _batch(options: argparse.Namespace) -> int:
    import sys

    from tqdm import tqdm

    from ..serving.batch.opening import describe, open_job
    from ..serving.batch.run import run_batch
    from .following import detector_settings

    bundle = bundle_or_default(options.bundle, options.artefact)
    archive, job, facts = open_job(
        options.source,
        bundle,
        options.out,
        boxes=options.boxes,
        category=options.person_category,
        part_pictures=options.part,
        segment_s=options.segment,
        engine=options.engine,
        workers=options.workers,
        form=options.format,
        artefact=options.artefact,
        device=options.device,
        threads=options.threads,
        detector=options.detector,
        detector_kind=options.detector_kind,
        detector_options=detector_settings(options),
        max_pixels=options.max_pixels,
        trust_engine=options.trust_engine,
    )
    with tqdm(desc="batch", unit="image", disable=None) as bar:
        counts = run_batch(
            archive,
            job,
            facts,
            engine=options.engine,
            workers=options.workers,
            gpus=options.gpus,
            log_json=sys.stderr if options.log_json else None,
            progress=bar.update,
        )
    print(describe(counts, archive, options.out))
    return CHECK_FAILED if counts.errors else 0


COMMANDS = (
    Command(
        "serve",
        "Write a model repository for the Triton server.",
        "lehrnet serve triton bundle --out repository && tritonserver --model-repository=repository",
        _add_serve,
        _serve,
    ),
    Command(
        "batch",
        "Find the keypoints of an archive of images and videos, by several processes or by Ray; goes on after a kill.",
        "lehrnet batch photos/ --bundle bundle --out results --workers 8\n"
        "  lehrnet batch s3://bucket/photos --out results --engine ray --workers 32 --format parquet",
        _add_batch,
        _batch,
    ),
)

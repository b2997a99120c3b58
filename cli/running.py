"""Commands that run a bundle: predict, demo."""

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .command import CHECK_FAILED, Command, add_running, bundle_or_default, number, renamed, report_bad

if TYPE_CHECKING:
    from ..runtime.predict import Summary
    from ..runtime.session import Session


def _add_predict(parser: argparse.ArgumentParser) -> None:
    from ..pose.pictures import MAX_PIXELS

    parser.add_argument("bundle", type=Path, nargs="?", help="a bundle; default: that of the shipped weights")
    parser.add_argument(
        "source", type=Path, metavar="IMAGE|FOLDER", help="image, or folder of images with its subfolders"
    )
    parser.add_argument(
        "--boxes", type=Path, metavar="FILE", help="person boxes: COCO JSON or xyxy JSON; default: the whole image"
    )
    parser.add_argument("--person-category", type=int, metavar="ID", help="person category of detections, if not 1")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write keypoints.json and a drawing of each image")
    add_running(parser)
    parser.add_argument("--fallback", metavar="NAME", help="artefact to run if the first cannot, such as fp32")
    renamed(parser, "--otherwise", "--fallback")
    parser.add_argument(
        "--flip", action="store_true", help="flip test: also run the mirrored crops; slower, more accurate"
    )
    parser.add_argument("--nms", action="store_true", help="suppress duplicate people by OKS-NMS")
    parser.add_argument(
        "--min-score", type=number, help="lowest score of a drawn joint (the network's own: its spec's min_score)"
    )
    parser.add_argument(
        "--max-pixels", type=int, default=MAX_PIXELS, metavar="N", help="refuse larger images (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the COCO results")


def _predict(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..files import refuse_inputs
    from ..runtime.estimator import PoseEstimator
    from ..runtime.predict import FAILURES, LINES, RESULTS, open_source, predict_to_folder

    bundle = bundle_or_default(options.bundle, options.artefact)
    if options.out is not None:
        outputs: dict[str, Path | None] = {f"--out: {name}": options.out / name for name in (RESULTS, LINES, FAILURES)}
        refuse_inputs(outputs, [options.boxes, bundle])
    estimator = PoseEstimator.open(
        bundle,
        options.artefact,
        options.device,
        threads=options.threads,
        flip=options.flip,
        fallback=options.fallback,
        trust_engine=options.trust_engine,
    )
    source = open_source(
        options.source, estimator.spec, options.boxes, out=options.out, category=options.person_category
    )
    with tempfile.TemporaryFile("w+", encoding="utf-8") as lines:
        found = predict_to_folder(
            estimator,
            source,
            options.out,
            options.min_score,
            nms=options.nms,
            max_pixels=options.max_pixels,
            lines=lines if options.json else None,
            progress=lambda paths: tqdm(paths, "predicting", unit="image", disable=None if len(paths) > 1 else True),
        )
        if options.json:
            lines.seek(0)
            print("[", *(("," if number else "") + line.strip() for number, line in enumerate(lines)), "]", sep="\n")
        else:
            print(_summary(found, estimator.session, options.out))
    return report_bad(found.bad)


def _summary(found: "Summary", session: "Session", out: Path | None) -> str:
    where = f", written to {out}" if out else "; --out DIR or --json shows them"
    missed = f" ({found.without_boxes} more without boxes)" if found.without_boxes else ""
    return f"{found.people} people in {found.images} images{missed} on {session.device} by {session.backend}{where}"


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", type=Path, nargs="?", metavar="IMAGE|FOLDER", help="default: scikit-image's astronaut photograph"
    )
    parser.add_argument("--boxes", type=Path, metavar="FILE", help="person boxes, as for predict")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder to fill (%(default)s)")


def _demo(options: argparse.Namespace) -> int:
    from ..demo import demo

    return 0 if demo(options.out, options.source, options.boxes) else CHECK_FAILED


COMMANDS = (
    Command(
        "predict",
        "Find the keypoints of people in images.",
        "lehrnet predict bundle photos/ --boxes people.json --out out/",
        _add_predict,
        _predict,
    ),
    Command("demo", "Export, verify and predict in one go.", "lehrnet demo photo.jpg --out demo", _add_demo, _demo),
)

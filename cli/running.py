"""Commands about running a bundle: predict, demo."""

import argparse
import json
from pathlib import Path

from .command import CHECK_FAILED, Command, bundle_or_default


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, nargs="?", help="a bundle's folder; the shipped default's if absent")
    parser.add_argument("source", type=Path, metavar="IMAGE|FOLDER", help="what to look at")
    parser.add_argument(
        "--boxes", type=Path, metavar="FILE", help="people: COCO JSON or xyxy JSON; else the whole image"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write keypoints.json and a picture for each image")
    parser.add_argument("--precision", default="fp32", help="graph or engine, fastest, or torch_fp16 (%(default)s)")
    parser.add_argument("--otherwise", metavar="PRECISION", help="what may run where that cannot, such as fp32")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 or auto (%(default)s)")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--flip", action="store_true", help="also run the mirror image: slower, steadier")
    parser.add_argument("--min-score", type=float, default=0.2, help="of a joint that is drawn (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the COCO results")


def _predict(options: argparse.Namespace) -> int:
    from ..runtime.estimator import PoseEstimator
    from ..runtime.predict import coco_results, list_images, predict_to_folder

    paths = list_images(options.source)
    estimator = PoseEstimator.open(
        bundle_or_default(options.bundle),
        options.precision,
        options.device,
        threads=options.threads,
        flip=options.flip,
        otherwise=options.otherwise,
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

"""Commands that run a bundle: predict (pictures here, videos in `following`), demo."""

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .command import CHECK_FAILED, Command, add_running, bundle_or_default, number, renamed, report_bad
from .following import add_detector, add_following, check_pictures_only, is_followed, opened_detector, predict_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..runtime.estimator import PoseEstimator
    from ..runtime.predict import Summary
    from ..runtime.session import Session


def _add_predict(parser: argparse.ArgumentParser) -> None:
    from ..pose.pictures import MAX_PIXELS

    parser.add_argument("bundle", type=Path, nargs="?", help="a bundle; default: that of the shipped weights")
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="image; folder of images with its subfolders; video file; camera number; rtsp:// or http:// address; "
        "gst: pipeline; - for a video on standard input",
    )
    parser.add_argument(
        "--boxes",
        type=Path,
        metavar="FILE",
        help="person boxes: COCO JSON or xyxy JSON, of a video by frame; default: the whole image",
    )
    parser.add_argument("--person-category", type=int, metavar="ID", help="person category of detections, if not 1")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR|VIDEO",
        help="of images: folder for keypoints.json and a drawing of each; of a video: the drawn video, as out.mp4",
    )
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
    parser.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="print the COCO results, of a video one JSON line a frame, or write them to a file",
    )
    add_detector(parser)
    add_following(parser)


def _predict(options: argparse.Namespace) -> int:
    bundle = bundle_or_default(options.bundle, options.artefact)

    def opened() -> "PoseEstimator":
        from ..runtime.estimator import PoseEstimator

        return PoseEstimator.open(
            bundle,
            options.artefact,
            options.device,
            threads=options.threads,
            flip=options.flip,
            fallback=options.fallback,
            trust_engine=options.trust_engine,
        )

    if is_followed(options):
        return predict_frames(options, bundle, opened)
    return _predict_pictures(options, bundle, opened)


def _predict_pictures(options: argparse.Namespace, bundle: Path, opened: "Callable[[], PoseEstimator]") -> int:
    from tqdm import tqdm

    from ..files import refuse_inputs, write_text
    from ..runtime.predict import FAILURES, LINES, RESULTS, open_source, predict_to_folder

    check_pictures_only(options)
    outputs: dict[str, Path | None] = {"--json": Path(options.json) if options.json not in (None, "-") else None}
    if options.out is not None:
        outputs |= {f"--out: {name}": options.out / name for name in (RESULTS, LINES, FAILURES)}
    refuse_inputs(outputs, [options.boxes, options.detector, bundle, Path(options.source)])
    estimator = opened()
    detector = opened_detector(options)
    source = open_source(
        Path(options.source), estimator.spec, options.boxes, out=options.out, category=options.person_category
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
            detector=detector,
            progress=lambda paths: tqdm(paths, "predicting", unit="image", disable=None if len(paths) > 1 else True),
        )
        if options.json:
            lines.seek(0)
            rows = [("," if number else "") + line.strip() for number, line in enumerate(lines)]
            text = "\n".join(["[", *rows, "]"])
            if options.json == "-":
                print(text)
            else:
                write_text(Path(options.json), text + "\n")
        if options.json != "-":
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
        "Find the keypoints of people in images and videos.",
        "lehrnet predict bundle photos/ --boxes people.json --out out/\n"
        "  lehrnet predict walk.mp4 --track --detector nanodet.onnx --out drawn.mp4 --json lines.jsonl",
        _add_predict,
        _predict,
    ),
    Command("demo", "Export, verify and predict in one go.", "lehrnet demo photo.jpg --out demo", _add_demo, _demo),
)

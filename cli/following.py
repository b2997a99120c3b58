"""`lehrnet predict` on videos, cameras and streams: its options, and the detector's, which pictures take too."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .command import number

if TYPE_CHECKING:
    from ..runtime.detect import DetectorOptions, PersonDetector
    from ..runtime.estimator import PoseEstimator
    from ..runtime.session import Session
    from ..runtime.video import FrameSource
    from ..runtime.video.predicting import Finder, Run

VIDEOS_ONLY = ("track", "smooth", "show", "max_frames", "start", "end")


def add_detector(parser: argparse.ArgumentParser) -> None:
    """Add the detector and its settings."""
    from ..runtime.detect import KINDS, DetectorOptions

    group = parser.add_argument_group("finding people")
    group.add_argument(
        "--detector",
        type=Path,
        metavar="FILE",
        help="ONNX file of a person detector; a FILE.json beside it describes it",
    )
    group.add_argument(
        "--detector-kind", default="auto", choices=["auto", *KINDS], help="family of the detector (%(default)s)"
    )
    group.add_argument(
        "--detector-score", type=number, default=DetectorOptions.min_score, help="lowest score (%(default)s)"
    )
    group.add_argument("--detector-nms", type=number, metavar="IOU", help="IoU of duplicates (that of the family)")
    group.add_argument("--person-class", type=int, metavar="N", help="class of people, from 0 on (that of the file)")
    group.add_argument(
        "--max-people", type=int, default=DetectorOptions.max_people, help="largest number of people (%(default)s)"
    )
    group.add_argument(
        "--min-size", type=number, default=DetectorOptions.min_size, metavar="PX", help="smallest side (%(default)s)"
    )


def add_following(parser: argparse.ArgumentParser) -> None:
    """Add what only videos take."""
    from ..runtime.video.opencv import TIMEOUT_S
    from ..runtime.video.opening import READERS

    group = parser.add_argument_group("videos")
    group.add_argument("--track", action="store_true", help="give people identities; without boxes follow one person")
    group.add_argument("--smooth", action="store_true", help="smooth the joints too (One-Euro); implies --track")
    group.add_argument("--every", type=int, default=1, metavar="N", help="detect in every Nth frame (%(default)s)")
    group.add_argument("--show", action="store_true", help="show a window")
    group.add_argument("--max-frames", type=int, metavar="N", help="end after N frames")
    group.add_argument("--start", type=number, metavar="S", help="second of a file to begin at")
    group.add_argument("--end", type=number, metavar="S", help="second of a file to end at")
    group.add_argument("--reader", choices=READERS, default=READERS[0], help="library that reads (%(default)s)")
    group.add_argument(
        "--timeout", type=number, default=TIMEOUT_S, metavar="S", help="give an address up after this (%(default)s)"
    )


def is_followed(options: argparse.Namespace) -> bool:
    """Whether the source gives frames with times: a video by its name, or anything that is to be tracked."""
    from ..runtime.video.opening import is_video

    return options.track or options.smooth or is_video(options.source)


def check_pictures_only(options: argparse.Namespace) -> None:
    """Raise ValueError if an option is for videos, but the source is pictures."""
    given = [f"--{name.replace('_', '-')}" for name in VIDEOS_ONLY if getattr(options, name) not in (None, False)]
    if given:
        raise ValueError(
            f"{', '.join(given)}: {options.source} is taken for pictures; --track takes a folder of them as a video"
        )


def opened_detector(options: argparse.Namespace) -> "PersonDetector | None":
    """The detector of the command line, if it names one."""
    if options.detector is None:
        return None
    if options.boxes is not None:
        raise ValueError("--boxes and --detector were both given, expected at most one of them")
    from ..runtime.detect import PersonDetector

    detector = PersonDetector.open(
        options.detector,
        options.detector_kind,
        detector_settings(options),
        device=options.device,
        threads=options.threads,
    )
    print(f"lehrnet: {options.detector} is {detector.description.summary()}", file=sys.stderr)
    return detector


def detector_settings(options: argparse.Namespace) -> "DetectorOptions":
    """The detector's settings of the command line."""
    from ..runtime.detect import DetectorOptions

    return DetectorOptions(
        min_score=options.detector_score,
        nms_iou=options.detector_nms,
        person_class=options.person_class,
        max_people=options.max_people,
        min_size=options.min_size,
    )


def predict_frames(options: argparse.Namespace, bundle: Path, opened: "Callable[[], PoseEstimator]") -> int:
    """Run `predict` on a source of frames."""
    from ..files import refuse_inputs
    from ..runtime.video.predicting import Outputs, json_lines, predict_video

    path = None if options.json in (None, "-") else Path(options.json)
    if options.max_frames is not None and options.max_frames < 1:
        raise ValueError(f"--max-frames is {options.max_frames}, expected at least 1")
    refuse_inputs(
        {"--out": options.out, "--json": path}, [Path(options.source), options.boxes, options.detector, bundle]
    )
    Outputs(video=options.out, show=options.show)  # what cannot be written is said before anything is opened
    with _source(options) as source:
        estimator = opened()
        find = _finder(options, estimator)
        with json_lines(path, sys.stdout) as lines, _progress(source, options.max_frames) as progress:
            outputs = Outputs(lines if options.json else None, options.out, options.show, options.min_score)
            run = predict_video(source, find, estimator, outputs, max_frames=options.max_frames, progress=progress)
    told = _summary(run, source, estimator.session, [each for each in (options.out, path) if each])
    print(told, file=sys.stderr if options.json == "-" else sys.stdout)
    return 0


def _source(options: argparse.Namespace) -> "FrameSource":
    from ..runtime.video import open_video

    return open_video(
        options.source,
        start_s=options.start or 0.0,
        end_s=float("inf") if options.end is None else options.end,
        timeout_s=options.timeout,
        reader=options.reader,
    )


def _finder(options: argparse.Namespace, estimator: "PoseEstimator") -> "Finder":
    """What finds the people in a frame: from boxes of a file, of a detector, or from themselves."""
    from ..runtime.track import PoseTracker, SmoothOptions, TrackerOptions
    from ..runtime.video.frame_boxes import FrameBoxes
    from ..runtime.video.predicting import tracking, without_identities

    detector = opened_detector(options)
    known = None if options.boxes is None else FrameBoxes(options.boxes)
    boxes_of = None if known is None else lambda frame: known(frame.index)
    if not (options.track or options.smooth):
        if detector is not None:
            boxes_of = lambda frame: detector(frame.image)  # noqa: E731 - it stands for the file's boxes
        return without_identities(estimator, boxes_of)
    settings = TrackerOptions(max_people=options.max_people, smooth=SmoothOptions() if options.smooth else None)
    return tracking(PoseTracker(estimator, detector, settings, every=options.every), boxes_of)


@contextmanager
def _progress(source: "FrameSource", max_frames: int | None) -> "Iterator[Callable[[Run], None]]":
    """A bar with frames a second, age and drops; nothing where standard error is no terminal."""
    from tqdm import tqdm

    total = source.count if max_frames is None else min(max_frames, source.count or max_frames)
    with tqdm(total=total, desc="predicting", unit="frame", disable=None) as bar:

        def show(run: "Run") -> None:
            facts: dict[str, Any] = {"age_ms": f"{run.age_ms:.0f}"}
            if source.live:
                facts["dropped"] = run.dropped
            bar.set_postfix(facts, refresh=False)
            bar.update()

        yield show


def _summary(run: "Run", source: "FrameSource", session: "Session", written: list[Path]) -> str:
    ids = f", identities 1 to {run.highest_id}" if run.highest_id else ""
    dropped = f", {run.dropped} dropped" if source.live else ""
    where = f", written to {' and '.join(map(str, written))}" if written else ""
    by = f"on {session.device} by {session.backend}"
    return (
        f"{run.people} poses in {run.frames} frames{dropped}{ids} {by}: {run.rate:.1f} frames/s, "
        f"age of a result {run.age_ms:.0f} ms, at most {run.oldest_ms:.0f} ms{where}"
    )

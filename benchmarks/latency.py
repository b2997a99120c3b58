"""Latency by stage and per person, from an encoded image to drawn skeletons, in one interleaved run."""

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..pose.crop import crop_people
from ..pose.points import image_points
from ..pose.synthetic import draw_scene
from ..runtime.bundle import Bundle, open_bundle
from ..runtime.devices import chosen
from ..runtime.draw import draw_poses
from ..runtime.estimator import PoseEstimator, Poses
from ..runtime.session import Trust, open_artefact
from .gpu import memory_of_this_process

FRAME = (720, 1280)  # height and width of the picture, px
STAGES = ("decode image", "crop", "network", "decode heatmaps", "draw")
WHOLE = ("frame to keypoints", "end to end")
"""By the estimator as its users call it: without and with the decoding and the drawing of the picture."""
PERCENTILES = (50, 90, 99)


@dataclass(frozen=True)
class Subject:
    """An open artefact of a bundle."""

    name: str
    bundle: Bundle
    artefact: str
    estimator: PoseEstimator
    cold_start_s: float
    """Seconds from opening the bundle to the first person's keypoints."""


def open_subjects(
    bundles: Sequence[Path],
    artefacts: Sequence[str],
    device: str = "auto",
    threads: int | None = None,
    *,
    trust_engine: Trust = False,
) -> list[Subject]:
    """Open the given artefacts of every bundle; ValueError if a bundle lacks one."""
    subjects = []
    for root in bundles:
        bundle = open_bundle(root)
        for artefact in dict.fromkeys(chosen(bundle, each, device) for each in artefacts):
            started = time.perf_counter()
            session = open_artefact(bundle, artefact, device, threads, trust_engine=trust_engine)
            session.run(np.zeros((1, 3, *bundle.spec.input_size), np.float32))
            cold = time.perf_counter() - started
            name = artefact if len(bundles) == 1 else f"{root.name}/{artefact}"
            subjects.append(Subject(name, bundle, artefact, PoseEstimator.of(session, bundle.spec), cold))
    return subjects


def measure(
    subjects: Sequence[Subject],
    batches: Sequence[int],
    rounds: int,
    progress: Callable[[range], Any] = lambda rounds: rounds,
) -> dict[str, Any]:
    """Latency in ms by subject, batch and stage, and end to end: percentiles, dispersion and per person.

    Subjects and batches are interleaved within each round.
    """
    if rounds < 1 or any(batch < 1 for batch in batches):
        raise ValueError(f"rounds {rounds}, batches {list(batches)}: expected at least 1 of each")
    encoded, boxes = picture(max(batches))
    turns = [(subject, batch) for subject in subjects for batch in batches]
    times: dict[tuple[str, int], list[tuple[float, ...]]] = {(subject.name, batch): [] for subject, batch in turns}
    for turn in progress(range(-2, rounds)):
        for subject, batch in turns:
            end_to_end(subject, encoded, boxes[:batch])  # warm the caches equally for both
            parts = by_stage(subject, encoded, boxes[:batch])
            whole = end_to_end(subject, encoded, boxes[:batch])
            if turn >= 0:
                times[subject.name, batch].append((*parts, *whole))
    return {
        "frame": list(FRAME),
        "rounds": rounds,
        "subjects": {
            subject.name: {
                "variant": subject.bundle.variant,
                "input_size": list(subject.bundle.spec.input_size),
                "backend": subject.estimator.session.backend,
                "device": subject.estimator.session.device,
                "cold_start_s": round(subject.cold_start_s, 3),
                "batches": {str(batch): _figures(np.array(times[subject.name, batch]), batch) for batch in batches},
            }
            for subject in subjects
        },
        "gpu_memory_mib": memory_of_this_process(),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def picture(people: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A drawn scene as JPEG, and boxes (N, 4) xyxy of `people` people."""
    rng = np.random.default_rng(0)
    scene = cv2.resize(draw_scene(rng)[0], FRAME[::-1])
    corners = rng.uniform((0, 0), (FRAME[1] - 400, FRAME[0] - 500), (people, 2))
    boxes = np.concatenate((corners, corners + rng.uniform((80, 200), (300, 480), (people, 2))), axis=1)
    return np.asarray(cv2.imencode(".jpg", scene)[1]), boxes


def by_stage(subject: Subject, encoded: NDArray[np.uint8], boxes: NDArray[np.float64]) -> tuple[float, ...]:
    """Seconds of each stage in STAGES, with crop and decode on the CPU."""
    spec, marks = subject.bundle.spec, [time.perf_counter()]
    image = read_picture(encoded)
    marks.append(time.perf_counter())
    crops, affines = crop_people(image, boxes, spec)
    marks.append(time.perf_counter())
    heatmaps = subject.estimator.session.run(crops)
    marks.append(time.perf_counter())
    points = image_points(heatmaps, affines, spec)
    marks.append(time.perf_counter())
    draw_poses(image, Poses(points[..., :2], points[..., 2], boxes), spec.skeleton)
    marks.append(time.perf_counter())
    return tuple(np.diff(marks).tolist())


def end_to_end(subject: Subject, encoded: NDArray[np.uint8], boxes: NDArray[np.float64]) -> tuple[float, float]:
    """Seconds from the frame to keypoints by `PoseEstimator`, with its pipeline, and from encoded to drawn image."""
    started = time.perf_counter()
    image = read_picture(encoded)
    read = time.perf_counter()
    poses = subject.estimator(image, boxes)
    found = time.perf_counter()
    draw_poses(image, poses, subject.bundle.spec.skeleton)
    return found - read, time.perf_counter() - started


def describe(facts: dict[str, Any]) -> str:
    """The figures as text: one line per subject and batch, p50 in ms."""
    columns = (*STAGES, *WHOLE, "p99", "+-", "per person", "people/s")
    lines = [f"{'':24} {'batch':>5} " + "".join(f"{name:>16}" for name in columns)]
    for name, subject in facts["subjects"].items():
        for batch, figures in subject["batches"].items():
            whole = figures["end to end"]
            cells = [figures[stage]["p50"] for stage in (*STAGES, *WHOLE)]
            cells += [whole["p99"], whole["dispersion"], figures["per_person_ms"], figures["people_per_s"]]
            lines.append(f"{name:24} {batch:>5} " + "".join(f"{cell:16.2f}" for cell in cells))
    lines.append("milliseconds, p50 unless stated otherwise; +- is half the distance from p10 to p90 of end to end")
    return "\n".join(lines)


def _figures(seconds: NDArray[np.float64], people: int) -> dict[str, Any]:
    """Figures of seconds (rounds, stages and whole)."""
    names = (*STAGES, *WHOLE)
    figures: dict[str, Any] = {name: _spread(1e3 * column) for name, column in zip(names, seconds.T, strict=True)}
    whole = figures["end to end"]["p50"]
    figures["per_person_ms"] = round(whole / people, 3)
    figures["people_per_s"] = round(1e3 * people / whole, 1)
    figures["stages_over_end_to_end"] = round(float(np.median(seconds[:, : len(STAGES)].sum(1) / seconds[:, -1])), 3)
    return figures


def _spread(series: NDArray[np.float64]) -> dict[str, float]:
    low, high = np.percentile(series, (10, 90))
    points = {f"p{share}": round(float(np.percentile(series, share)), 3) for share in PERCENTILES}
    return {**points, "dispersion": round(float(high - low) / 2, 3)}


def read_picture(encoded: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Decode an image to BGR (H, W, 3)."""
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert image is not None  # we encoded it
    return np.asarray(image, np.uint8)

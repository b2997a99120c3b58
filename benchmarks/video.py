"""From a video to tracked people: milliseconds a frame by stage, the age of results under load, several streams."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pose.crop import Image, crop_people
from ..pose.points import image_points
from ..runtime.draw import draw_poses
from ..runtime.estimator import PoseEstimator
from ..runtime.predict import Detector
from ..runtime.track import Item, PoseTracker, SmoothOptions, TrackerOptions, TrackState
from ..runtime.track.search import find_person
from ..runtime.track.smoothing import OneEuro
from ..runtime.video import Together, from_iterable, open_video

STAGES = ("read", "detect", "crop", "network", "decode", "track", "draw")
LOAD = 3.0  # times as many frames a second as the machine can do, for the age under load
LOAD_S = 5.0
KEPT = 60  # frames in memory for a source of a given rate: 0.4 GB of 1920 x 1080
STREAMS = 4
SIZE_PX, NOISE = 300.0, 0.01
"""Size of the person whose joints are smoothed, and the noise of a joint as a share of it."""
SPEED = 2.0  # sizes a second, of a moving arm
RATE = 30.0


@dataclass(frozen=True)
class Subject:
    """What runs: an estimator, and a detector every `every` frames, or None to follow one person."""

    estimator: PoseEstimator
    detector: Detector | None
    every: int = 1

    def tracker(self, streams: int = 1) -> PoseTracker:
        """A new tracker of so many streams."""
        return PoseTracker(self.estimator, self.detector, every=self.every, streams=streams)


def measure(
    subject: Subject, video: Path, frames: int, progress: Callable[[Iterator[int]], Any] = lambda numbers: numbers
) -> dict[str, Any]:
    """Figures of a video file; at most `frames` of it are used."""
    if frames < 2:
        raise ValueError(f"frames is {frames}, expected at least 2")
    stages, people = _by_stage(subject, video, frames, progress)
    whole = stages.sum(1)
    images = _images(video, min(frames, KEPT))
    rate = 1e3 / float(whole.mean())
    return {
        "video": video.name,
        "frame": list(images[0].shape[:2]),
        "frames": len(stages),
        "people": people,
        "every": subject.every,
        "backend": subject.estimator.session.backend,
        "device": subject.estimator.session.device,
        "stages": {name: _spread(column) for name, column in zip(STAGES, stages.T, strict=True)},
        "end to end": _spread(whole),
        "frames_per_s": round(rate, 2),
        "people_per_s": round(people * rate / len(stages), 2),
        "under_load": _under_load(subject, images, LOAD * rate),
        "streams": _streams(subject, images, STREAMS),
        "smoothing": smoothing_figures(),
    }


def describe(facts: dict[str, Any]) -> str:
    """The figures as text."""
    height, width = facts["frame"]
    lines = [f"{facts['video']}, {width} x {height}, {facts['frames']} frames, {facts['people']} poses"]
    lines += [f"  {name:11}{each['p50']:9.2f} ms  p99 {each['p99']:9.2f}" for name, each in facts["stages"].items()]
    whole, load, streams, smooth = (facts[name] for name in ("end to end", "under_load", "streams", "smoothing"))
    return "\n".join(
        [
            *lines,
            f"  {'end to end':11}{whole['p50']:9.2f} ms  p99 {whole['p99']:9.2f}",
            f"{facts['frames_per_s']} frames/s, {facts['people_per_s']} people/s on {facts['device']}",
            f"a source of {load['rate']:.0f} frames/s: age of a result {load['age_ms']['p50']:.0f} ms, p99 "
            f"{load['age_ms']['p99']:.0f} ms; {load['used']} frames used, {load['dropped']} dropped",
            f"{streams['streams']} streams together: {streams['frames_per_s']} frames/s in all",
            f"smoothing: jitter of a still joint {smooth['jitter_px']} px a frame, {smooth['jitter_smoothed_px']} px "
            f"smoothed; lag of a moving one {smooth['lag_ms']} ms",
        ]
    )


def _by_stage(
    subject: Subject, video: Path, frames: int, progress: Callable[[Iterator[int]], Any]
) -> tuple[NDArray[np.float64], int]:
    """Milliseconds (frames, stages), and the number of poses; crop and decode run on the CPU."""
    estimator, state = subject.estimator, TrackState(subject.estimator.spec.skeleton)
    rows, people, spec = [], 0, estimator.spec
    with open_video(video) as source:
        given = iter(source)
        for number in progress(iter(range(frames))):
            marks = [time.perf_counter()]
            frame = next(given, None)
            if frame is None:
                break
            marks.append(time.perf_counter())
            found = _boxes(subject, state, frame.image, number)
            marks.append(time.perf_counter())
            proposals = state.propose(frame.time_s, *found)
            proposed = time.perf_counter()
            crops, affines = crop_people(frame.image, proposals.boxes, spec)
            cropped = time.perf_counter()
            heatmaps = estimator.session.run(crops)
            inferred = time.perf_counter()
            points = image_points(heatmaps, affines, spec)
            decoded = time.perf_counter()
            poses = state.accept(points, proposals)
            tracked = time.perf_counter()
            draw_poses(frame.image, poses, spec.skeleton)
            ends = [*np.diff(marks), cropped - proposed, inferred - cropped, decoded - inferred]
            rows.append([*ends, proposed - marks[-1] + tracked - decoded, time.perf_counter() - tracked])
            people += len(poses)
    return 1e3 * np.array(rows).reshape(-1, len(STAGES)), people


def _boxes(subject: Subject, state: TrackState, image: Image, number: int) -> tuple[Any, Any]:
    """Boxes and scores of the detector when it is its turn; without one those of a search at the start."""
    if subject.detector is not None:
        return subject.detector(image) if number % subject.every == 0 or state.lost else (None, None)
    if state.people:
        return None, None

    def look(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        poses = subject.estimator(image, boxes)
        return np.concatenate((poses.xy, poses.score[..., None]), axis=2, dtype=np.float64)

    spec = subject.estimator.spec
    return find_person(look, image.shape[1], image.shape[0], spec.skeleton, spec.min_score), None


def _images(video: Path, count: int) -> list[Image]:
    with open_video(video) as source:
        return [frame.image for frame in islice(source, count)]


def _paced(images: Sequence[Image], rate: float, seconds: float) -> Iterator[Image]:
    """Images over and over, `rate` a second, to and fro, so that nobody jumps."""
    turns = [*images, *images[-2:0:-1]]
    start = time.monotonic()
    for number in range(round(rate * seconds)):
        time.sleep(max(0.0, start + number / rate - time.monotonic()))
        yield turns[number % len(turns)]


def _under_load(subject: Subject, images: Sequence[Image], rate: float) -> dict[str, Any]:
    """The age of results of a live source that is faster than the machine."""
    tracker, ages, dropped = subject.tracker(), [], 0
    tracker(images[0], 0.0)  # finds somebody, which may take longer than a frame
    for frame in from_iterable(_paced(images, rate, LOAD_S), rate, live=True):
        tracker(frame.image, frame.time_s)
        ages.append(frame.age_ms)
        dropped += frame.dropped
    return {"rate": round(rate, 1), "age_ms": _spread(np.array(ages)), "used": len(ages), "dropped": dropped}


def _streams(subject: Subject, images: Sequence[Image], count: int) -> dict[str, Any]:
    """Frames a second of several files together, whose people share batches."""
    tracker, done = subject.tracker(count), 0
    sources = [from_iterable(images, RATE, f"stream {number}") for number in range(count)]
    started = time.perf_counter()
    with Together(sources, deadline_s=1.0) as together:
        for batch in together:
            tracker.update([frame and Item(frame.image, frame.time_s) for frame in batch])
            done += sum(frame is not None for frame in batch)
    return {"streams": count, "frames_per_s": round(done / (time.perf_counter() - started), 2)}


def smoothing_figures() -> dict[str, float]:
    """Jitter in px a frame of still joints with noise, raw and smoothed, and the lag in ms of joints that move."""
    rng, options = np.random.default_rng(0), TrackerOptions(smooth=SmoothOptions()).smooth
    assert options is not None
    still = rng.normal(0, NOISE * SIZE_PX, (300, 17, 2))
    moving = still + (np.arange(300) / RATE * SPEED * SIZE_PX)[:, None, None] * np.array((1.0, 0.0))
    smooth = [_smoothed(series, OneEuro(options)) for series in (still, moving)]
    jitter, smoothed = (float(np.abs(np.diff(series[30:], axis=0)).mean()) for series in (still, smooth[0]))
    behind = float((moving - smooth[1])[30:, :, 0].mean())
    return {
        "jitter_px": round(jitter, 3),
        "jitter_smoothed_px": round(smoothed, 3),
        "lag_ms": round(1e3 * behind / (SPEED * SIZE_PX), 1),
    }


def _smoothed(series: NDArray[np.float64], smoother: OneEuro) -> NDArray[np.float64]:
    return np.stack([smoother(joints, SIZE_PX, 1 / RATE) for joints in series])


def _spread(series: NDArray[np.float64]) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(series, share)), 3) for share in (50, 90, 99)}

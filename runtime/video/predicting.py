"""Prediction on a source of frames: JSON lines, a drawn video and a window, frame by frame as they come."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...pose.crop import Image
from ..draw import draw_poses
from ..estimator import PoseEstimator, Poses, whole_image
from ..track import PoseTracker
from .frames import Frame, FrameSource
from .opencv import GUESSED_RATE
from .writing import VideoWriter, check_suffix, writing_video

BoxesOf = Callable[[Frame], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Boxes (N, 4) xyxy in px and scores (N,) of a frame."""
Finder = Callable[[Frame], Poses]
"""The people in a frame; frames come in order."""
WINDOW = "lehrnet (q ends)"


@dataclass
class Run:
    """What a run over a video has done so far. It does not grow with the length of the video."""

    frames: int = 0
    people: int = 0
    """Poses, over all frames."""
    dropped: int = 0
    highest_id: int = 0
    oldest_ms: float = 0.0
    """Age of the oldest result."""
    total_age_ms: float = 0.0
    started_s: float = field(default_factory=time.monotonic)

    @property
    def rate(self) -> float:
        """Frames a second so far."""
        return self.frames / max(time.monotonic() - self.started_s, 1e-9)

    @property
    def age_ms(self) -> float:
        """Mean age of the results."""
        return self.total_age_ms / max(self.frames, 1)

    def add(self, frame: Frame, poses: Poses) -> float:
        """Count a frame; return the age of its result in ms."""
        age = frame.age_ms
        self.frames, self.people = self.frames + 1, self.people + len(poses)
        self.dropped += frame.dropped
        self.total_age_ms, self.oldest_ms = self.total_age_ms + age, max(self.oldest_ms, age)
        if poses.ids is not None and len(poses):
            self.highest_id = max(self.highest_id, int(poses.ids.max()))
        return age


@dataclass(frozen=True)
class Outputs:
    """Where the results of a video go."""

    lines: IO[str] | None = None
    """One JSON line a frame, written and flushed as it comes."""
    video: Path | None = None
    """The drawn video."""
    show: bool = False
    """A window on the screen."""
    min_score: float | None = None
    """Lowest score of a drawn joint; None: the network's own."""

    def __post_init__(self) -> None:
        if self.video is not None:
            check_suffix(self.video)
        if self.show and "GUI:                           NONE" in cv2.getBuildInformation():
            raise ImportError(
                "--show needs an OpenCV with windows, and opencv-python-headless has none: "
                "pip install opencv-python in its place"
            )


def tracking(tracker: PoseTracker, boxes_of: BoxesOf | None = None) -> Finder:
    """The people in each frame with identities; `boxes_of` gives the boxes in place of the tracker's detector."""

    def find(frame: Frame) -> Poses:
        boxes, scores = (None, None) if boxes_of is None else boxes_of(frame)
        return tracker(frame.image, frame.time_s, boxes, scores)

    return find


def without_identities(estimator: PoseEstimator, boxes_of: BoxesOf | None = None) -> Finder:
    """The people in each frame on its own; without `boxes_of` one person fills the picture."""

    def find(frame: Frame) -> Poses:
        boxes = [whole_image(frame.image)] if boxes_of is None else boxes_of(frame)[0]
        return estimator(frame.image, boxes)

    return find


def predict_video(
    source: FrameSource,
    find: Finder,
    estimator: PoseEstimator,
    outputs: Outputs,
    *,
    max_frames: int | None = None,
    progress: Callable[[Run], None] = lambda _: None,
) -> Run:
    """Find the people in every frame and write them; return what was done.

    The video is as wide and high as the first frame. A source that is cut off raises its error after everything
    before the cut was written.
    """
    run, fault = Run(), None
    with ExitStack() as stack:
        writer: VideoWriter | None = None
        try:
            for frame in source:
                poses = find(frame)
                age = run.add(frame, poses)
                if outputs.lines is not None:
                    outputs.lines.write(json.dumps(line_of(frame, poses, age)) + "\n")
                    outputs.lines.flush()
                drawn = _drawn(frame, poses, estimator, outputs)
                if outputs.video is not None and drawn is not None:
                    if writer is None:
                        size = drawn.shape[1], drawn.shape[0]
                        writer = stack.enter_context(writing_video(outputs.video, source.rate or GUESSED_RATE, size))
                    writer.write(drawn, frame.time_s)
                progress(run)
                if (outputs.show and not _shown(drawn)) or run.frames == max_frames:
                    break
        except ValueError as error:
            if not run.frames:
                raise
            fault = error
    if fault is not None:
        raise ValueError(f"{fault}; the results of {run.frames} frames were written") from fault
    return run


def line_of(frame: Frame, poses: Poses, age_ms: float) -> dict[str, Any]:
    """A frame's result for JSON: boxes as x, y, width, height; keypoints as x, y, score, in px of the frame."""
    people = []
    for row in range(len(poses)):
        box = poses.boxes[row]
        points = np.concatenate((poses.xy[row], poses.score[row, :, None]), axis=1, dtype=np.float64)
        person: dict[str, Any] = {} if poses.ids is None else {"id": int(poses.ids[row])}
        person["bbox"] = [*box[:2].round(2).tolist(), *(box[2:] - box[:2]).round(2).tolist()]
        person["score"] = round(float(poses.score[row].mean()), 4)
        person["keypoints"] = points.round(3).ravel().tolist()
        person["visible"] = poses.visible[row].astype(int).tolist()
        if poses.smoothed is not None:
            person["smoothed"] = poses.smoothed[row].astype(np.float64).round(3).ravel().tolist()
        people.append(person)
    times = {"frame": frame.index, "time_s": round(frame.time_s, 6), "age_ms": round(age_ms, 2)}
    return {**times, "dropped": frame.dropped, "people": people}


@contextmanager
def json_lines(path: Path | None, stdout: IO[str]) -> Iterator[IO[str]]:
    """A file for JSON lines that are whole after a kill, or `stdout` for None; a link in its place is removed."""
    if path is None:
        yield stdout
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.is_file():
            path.unlink(missing_ok=True)
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror}; choose a place that can be written") from error
    with file:
        yield file


def _drawn(frame: Frame, poses: Poses, estimator: PoseEstimator, outputs: Outputs) -> Image | None:
    """The frame with its people, if somebody looks at it."""
    if outputs.video is None and not outputs.show:
        return None
    return draw_poses(frame.image, poses, estimator.spec.skeleton, outputs.min_score)


def _shown(drawn: Image | None) -> bool:
    """Show a frame in the window; False if the user ended it."""
    assert drawn is not None
    cv2.imshow(WINDOW, drawn)
    return cv2.waitKey(1) & 0xFF not in (ord("q"), 27)

"""Drawn figures that walk, cross, leave and come back, with exact identities: videos for tests without downloads."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..files import atomic_folder
from .overlap import covered
from .skeleton import COCO17
from .synthetic import (
    ARM,
    FACE,
    HEAD,
    HIP,
    LEG,
    NECK,
    SEEN,
    SHOULDER,
    TORSO,
    Image,
    Points,
    background,
    draw_body,
    limb,
)
from .tracks import TracksFrame, write_tracks

SIZE = (720, 1280)
"""(height, width) of the video, px."""
RATE = 30.0  # frames a second
SMALLEST, LARGEST = 0.45, 0.8  # body heights, as shares of the video's height
PERIOD_S = (7.5, 8.5)  # to the other side and back
BEYOND = 1.05  # ways that lead out of the picture are longer than those to its edge by this: for about a second
STEPS_HZ = 1.0  # a walker's left foot comes forward this often
SWING = 0.5  # radians, of arms and legs
HIDDEN_SHARE = 0.75
"""A figure of which nearer ones cover more than this is in nobody's sight."""
MARGIN = 0.06  # a box reaches beyond the joints by this share of the body height: head and feet


@dataclass(frozen=True)
class Walker:
    """A figure that walks to and fro across the picture."""

    identity: int
    height: float
    """Px of the body."""
    middle: float
    """Px from the left, of the middle of the way."""
    reach: float
    """Px from the middle to the turning points."""
    period_s: float
    phase: float
    ground: float
    """Px from the top, where the feet stand."""
    seed: int
    """Of the clothes."""

    def points(self, time_s: float) -> Points:
        """Joints (17, 3) at a time: x, y in px of the video, and SEEN."""
        turn = 2 * np.pi * time_s / self.period_s + self.phase
        hips = np.array((self.middle + self.reach * np.sin(turn), self.ground - sum(LEG) * self.height))
        stride = SWING * np.sin(2 * np.pi * STEPS_HZ * time_s + self.phase)
        return _walking(hips, self.height, stride)


def walkers(count: int, seed: int = 0) -> list[Walker]:
    """Figures of different heights, mostly on opposite ways; every third one leaves the picture at a turning point."""
    rng, (height, width) = np.random.default_rng(seed), SIZE
    figures = []
    for number in range(count):
        tall = height * (SMALLEST + (LARGEST - SMALLEST) * number / max(count - 1, 1))  # those in front are taller
        leaves = number % 3 == 2
        middle = width * (rng.uniform(0.55, 0.65) if leaves else rng.uniform(0.45, 0.55))
        reach = (width - middle) * BEYOND if leaves else width * rng.uniform(0.3, 0.42)
        ground = height * rng.uniform(0.9, 0.98) - (LARGEST * height - tall) * 0.3
        period, phase = rng.uniform(*PERIOD_S), 2 * np.pi * (number + rng.uniform(-0.2, 0.2)) / count
        figures.append(Walker(number + 1, tall, middle, reach, period, phase, ground, int(rng.integers(1 << 30))))
    return figures


def people_at(figures: list[Walker], frame: int, time_s: float) -> tuple[TracksFrame, Points]:
    """Who is in sight at a time, and their joints (N, 17, 3): in the picture, and not behind the others."""
    points = [figure.points(time_s) for figure in figures]
    boxes = np.array([_box(each, figure.height) for each, figure in zip(points, figures, strict=True)]).reshape(-1, 4)
    seen = [
        row
        for row in range(len(figures))
        if _inside(points[row]) and (covered(boxes[row], boxes[row + 1 :]) <= HIDDEN_SHARE).all()
    ]
    ids = np.array([figures[row].identity for row in seen], np.int64)
    found = np.array([points[row] for row in seen]).reshape(-1, len(COCO17), 3)
    return TracksFrame(frame, time_s, ids, boxes[seen]), found


def draw_people(figures: list[Walker], time_s: float, scene: Image) -> Image:
    """The figures (H, W, 3) in BGR before a scene of the same size, the nearer ones over the others."""
    picture, owners = scene.copy(), np.zeros(scene.shape[:2], np.uint8)
    for figure in figures:
        draw_body(picture, owners, 1, figure.points(time_s), np.random.default_rng(figure.seed))
    return picture


def scene(seed: int = 0) -> Image:
    """A background (H, W, 3) in BGR."""
    return background(*SIZE, np.random.default_rng(seed))


def frame_times(frames: int, keep: float = 1.0, seed: int = 0) -> Iterator[tuple[int, float]]:
    """Numbers and times in s of frames at RATE; with `keep` below 1 only that share of them, chosen at random."""
    rng = np.random.default_rng(seed)
    for number in range(frames):
        if keep >= 1 or rng.random() < keep:
            yield number, number / RATE


def write_moving(
    folder: Path,
    frames: int,
    people: int = 5,
    seed: int = 0,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda numbers: numbers,
) -> int:
    """Write pictures of a video and `tracks.json`, the truth for `lehrnet evaluate --tracks`; return the poses in it.

    The folder is written atomically; the same seed gives the same video. FileExistsError if `folder` exists.
    """
    if frames < 1 or people < 1:
        raise ValueError(f"frames is {frames} and people {people}, expected at least 1 of each")
    figures, behind, truth = walkers(people, seed), scene(seed), []
    with atomic_folder(folder) as unfinished:
        (unfinished / "images").mkdir()
        for number in progress(range(frames)):
            truth.append(people_at(figures, number, number / RATE)[0])
            drawn = draw_people(figures, number / RATE, behind)
            cv2.imwrite(str(unfinished / "images" / f"{number:06d}.jpg"), drawn)
        write_tracks(unfinished / "tracks.json", truth)
        facts = {"rate": RATE, "people": people, "seed": seed}
        (unfinished / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    return sum(len(frame.ids) for frame in truth)


def _walking(hips: NDArray[np.float64], size: float, stride: float) -> Points:
    """Joints (17, 3) of an upright body with hips (2,) in px; `stride` is the swing of the limbs in radians."""
    up, across = np.array((0.0, -1.0)), np.array((1.0, 0.0)) * 0.8
    shoulders = hips + up * TORSO * size
    head = shoulders + up * (NECK + HEAD) * size
    points = {
        name: head + across * sideways * HEAD * size - up * down * HEAD * size
        for name, (sideways, down) in FACE.items()
    }
    for side, sign in (("left", 1), ("right", -1)):
        shoulder, hip = shoulders + sign * across * SHOULDER * size, hips + sign * across * HIP * size
        arm = limb(shoulder, np.pi, np.array((-sign * stride, -0.3)), np.array(ARM) * size)
        leg = limb(hip, np.pi, np.array((sign * stride, -0.3 * abs(stride))), np.array(LEG) * size)
        names = (f"{side}_{name}" for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"))
        points |= dict(zip(names, (*arm, *leg), strict=True))
    return np.array([(*points[name], SEEN) for name in COCO17.joints])


def _box(points: Points, height: float) -> NDArray[np.float64]:
    """Box (4,) xyxy round a body, within the picture."""
    margin, limit = MARGIN * height, np.array((SIZE[1], SIZE[0]))
    low, high = points[:, :2].min(0) - margin, points[:, :2].max(0) + margin
    return np.concatenate((low.clip(0, limit), high.clip(0, limit)))


def _inside(points: Points) -> bool:
    """Whether most of the joints are in the picture."""
    limit = np.array((SIZE[1], SIZE[0]))
    return bool(((points[:, :2] >= 0) & (points[:, :2] < limit)).all(1).mean() > 0.5)

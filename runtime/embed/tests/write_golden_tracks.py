"""Writes the golden files of the tracker: whom Python's definition follows in two streams of drawn frames.

python runtime/embed/tests/write_golden_tracks.py [FOLDER]     # tests/golden beside this file if absent

The network is that of fake_backend.cpp: joint k lies where colour k % 3 is brightest, whoever's it is, so that
identities are put to the test. A person is three spots. Stream 0 has detections in two of three frames, stream 1 none
at all, and every other frame only.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from lehrnet.pose.crop import sample_bilinear
from lehrnet.pose.frame import person_affines
from lehrnet.pose.points import find_points
from lehrnet.pose.spec import COCO
from lehrnet.runtime import PoseEstimator, Poses
from lehrnet.runtime.track import Item, PoseTracker, SmoothOptions, TrackerOptions

SPEC = replace(COCO, input_size=(64, 32), decode="quarter")
WIDTH, HEIGHT, FRAMES, PEOPLE = 128, 96, 64, 3
SPOTS = ((-5, -22, 2), (6, -4, 1), (-2, 24, 0))  # px from the person's middle, and the colour of BGR
REACH, FALL = 11, 20  # px that a spot reaches, and levels that it falls by from one to the next
DIMMER = 13  # levels by which each person's spots are below the last one's: no two are alike
OPTIONS = TrackerOptions(max_people=4, smooth=SmoothOptions())


class Estimator(PoseEstimator):
    """The fake network behind the definition of the crop, with boxes as the C library takes them."""

    def __init__(self) -> None:
        self.spec = SPEC

    def run_many(self, items: Sequence[tuple[np.ndarray, ArrayLike | None]]) -> list[Poses]:
        """Keypoints of (image, boxes) items."""
        return [self._run(image, np.asarray(boxes, np.float32).reshape(-1, 4)) for image, boxes in items]

    def _run(self, image: np.ndarray, boxes: np.ndarray) -> Poses:
        affines = person_affines(boxes.astype(np.float64), SPEC)
        levels = [sample_bilinear(image, affine, SPEC.input_size)[..., ::-1] for affine in affines]
        crops = np.array(levels).reshape(-1, *SPEC.input_size, 3).transpose(0, 3, 1, 2).astype(np.float64)
        mean, std = (np.array(each)[:, None, None] for each in (SPEC.mean, SPEC.std))
        points = find_points(averaged, ((crops / 255 - mean) / std).astype(np.float32), affines, SPEC)
        return Poses(points[..., :2], points[..., 2], boxes.astype(np.float64))


def averaged(crops: np.ndarray) -> np.ndarray:
    """The fake network's heatmaps (N, 17, 16, 8) of crops (N, 3, 64, 32)."""
    cells = crops.reshape(-1, 3, 16, 4, 8, 4).mean((3, 5), dtype=np.float32)
    return cells[:, [joint % 3 for joint in range(17)]]


def middles(frame: int) -> np.ndarray:
    """Where the people (PEOPLE, 2) are, px: two who cross, and one who comes, stands, leaves and comes back."""
    step = frame / 2
    third = (104, 130) if frame < 16 or 36 <= frame < 44 else (104, 50)
    return np.round([(20 + 2 * step, 46 + step / 8), (100 - 2 * step, 52 - step / 8), third]).astype(np.int32)


def drawn(people: np.ndarray) -> np.ndarray:
    """The frame (HEIGHT, WIDTH, 3) as test_track.cpp draws it, in whole numbers: people (n, 2), three spots each."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for person, (x, y) in enumerate(people):
        for right, down, colour in SPOTS:
            across, along = np.abs(columns - x - right), np.abs(rows - y - down)
            away = np.maximum(across, along)
            level = np.where(away < REACH, 255 - DIMMER * person - FALL * away - across - along, 0)
            frame[..., colour] = np.maximum(frame[..., colour], level.clip(0))
    return frame


def detections(people: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Boxes and scores (n, 5) of those in sight, with noise; one in eight is missed, one in eight has two."""
    rows = []
    for x, y in people[people[:, 1] < HEIGHT]:
        for _ in range(int(rng.choice((0, 1, 1, 1, 1, 1, 1, 2)))):
            rows.append([*(np.array((x - 16, y - 36, x + 16, y + 36)) + rng.normal(0, 1, 4)), rng.uniform(0.4, 0.9)])
    return np.array(rows, np.float32).reshape(-1, 5)


def main() -> None:
    """Write the frames' times, people and detections, and whom the tracker found."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "golden"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(11)
    tracker = PoseTracker(Estimator(), options=OPTIONS, streams=2)
    inputs, found, time_s = [], [], 0.0
    for frame in range(FRAMES):
        time_s += float(np.float32(rng.choice((0.0625, 0.125))))  # frames are dropped
        people = middles(frame)
        boxes = detections(people, rng) if frame % 3 < 2 else None
        inputs.append(np.array((time_s, -1 if boxes is None else len(boxes), *people.flatten()), np.float32))
        inputs.append(np.empty(0, np.float32) if boxes is None else boxes.flatten())
        given = (None, None) if boxes is None else (boxes[:, :4], boxes[:, 4])
        alone = Item(drawn(people[:1]), time_s) if frame % 2 == 0 else None
        for stream, poses in enumerate(tracker.update([Item(drawn(people), time_s, *given), alone])):
            found += [row_of(frame, stream, poses, person) for person in range(len(poses))]
    np.concatenate(inputs).tofile(folder / "track_frames.f32")
    np.concatenate(found).tofile(folder / "track_people.f32")


def row_of(frame: int, stream: int, poses: Poses, person: int) -> np.ndarray:
    """(3 + 4 + 51 + 34,): frame, stream, identity, box, joints as found and smoothed."""
    assert poses.ids is not None
    assert poses.smoothed is not None
    joints = np.concatenate((poses.xy[person], poses.score[person][:, None]), axis=1)
    parts = (
        (frame, stream, poses.ids[person]),
        poses.boxes[person],
        joints.flatten(),
        poses.smoothed[person].flatten(),
    )
    return np.concatenate(parts).astype(np.float32)


if __name__ == "__main__":
    main()

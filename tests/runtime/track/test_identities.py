"""Identities of drawn figures that cross, leave and come back, whose exact identities are known."""

from collections.abc import Iterable

import numpy as np
import pytest

from lehrnet.pose.moving import frame_times as times_of
from lehrnet.pose.moving import people_at, walkers
from lehrnet.pose.overlap import iou
from lehrnet.pose.skeleton import COCO17
from lehrnet.pose.tracks import TracksFrame, track_metrics
from lehrnet.runtime.track import TrackerOptions, TrackState
from lehrnet.runtime.track.matching import boxes_of

FRAMES = 600  # 20 s
SURE, UNSURE = 0.8, 0.35


def look(boxes: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A network's poses (N, 17, 3) in boxes (N, 4): those of the person who fills a box most, or nonsense."""
    found = np.empty((len(boxes), 17, 3))
    whole = boxes_of(points) if len(points) else np.empty((0, 4))
    for row, box in enumerate(boxes):
        alike = iou(box[None], whole)[0]
        if len(alike) and alike.max() > 0.3:
            person = points[int(alike.argmax())]
            size = np.sqrt((box[2:] - box[:2]).prod())
            found[row, :, :2] = person[:, :2] + rng.normal(0, 0.02 * size, (17, 2))
            found[row, :, 2] = SURE
        else:
            found[row, :, :2] = rng.uniform(box[:2], box[2:], (17, 2))
            found[row, :, 2] = UNSURE
    return found


def follow(times: Iterable[tuple[int, float]], seed: int, options: TrackerOptions | None = None, people: int = 4):
    """Truth and tracks of a video of drawn figures, detected with noise and one miss in ten."""
    rng, figures = np.random.default_rng(seed), walkers(people, seed)
    state, truth, found = TrackState(COCO17, options), [], []
    for number, seconds in times:
        true, points = people_at(figures, number, seconds)
        boxes = true.boxes + rng.normal(0, 2, true.boxes.shape)
        seen = rng.random(len(boxes)) > 0.1
        proposals = state.propose(seconds, boxes[seen], rng.uniform(0.4, 0.9, int(seen.sum())))
        poses = state.accept(look(proposals.boxes, points, rng), proposals)
        assert poses.ids is not None
        truth.append(true)
        found.append(TracksFrame(number, seconds, poses.ids, poses.boxes))
    return truth, found


@pytest.mark.parametrize("seed", range(3))
def test_figures_that_cross_and_come_back_keep_their_identities(seed: int) -> None:
    figures = track_metrics(*follow(times_of(FRAMES), seed))
    assert figures["people"] > 3 * FRAMES
    assert figures["idf1"] >= 0.95, figures


@pytest.mark.parametrize("seed", range(3))
def test_dropping_two_of_three_frames_at_random_changes_little(seed: int) -> None:
    figures = track_metrics(*follow(times_of(FRAMES, keep=1 / 3, seed=seed), seed))
    assert figures["idf1"] >= 0.90, figures

"""Accuracy of anything that maps crops to heatmaps: the trainer, the parity ladder and the command line share it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .batches import crop_batches
from .boxes import PERSON_CATEGORY, read_boxes
from .coco import read_coco
from .data import PoseData
from .metrics import coco_figures, distinct, mpii_figures, pck
from .mpii import find_mpii_labels, read_head_sizes, read_mpii
from .points import Heatmapper, find_points
from .spec import PoseSpec

JOINT_TOLERANCE = 0.1  # of the longer side of a person's box, within which a joint counts as found
SURE_JOINT = 0.2  # HRNet: joints below it do not count in a person's score
BATCH = 32


@dataclass(frozen=True)
class Evaluation:
    """Figures of one network on one data folder."""

    metric: str
    """ "OKS AP" or "PCKh"."""
    people: int
    """Boxes that were run."""
    figures: dict[str, float]
    results: list[dict[str, Any]]
    """COCO keypoint results, after OKS suppression."""
    joints: dict[str, float] = field(default_factory=dict)
    """Share of each joint's labels that were found within JOINT_TOLERANCE; empty on detected boxes."""


def evaluate(
    heatmaps_of: Heatmapper,
    folder: Path,
    spec: PoseSpec,
    *,
    detections: Path | None = None,
    flip: bool = False,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda batches, _: batches,
) -> Evaluation:
    """OKS AP on a COCO folder, PCKh on an MPII folder.

    Boxes are the labels', or of `detections` (COCO detections). `progress(batches, count)` may wrap the loop.
    """
    mpii = find_mpii_labels(folder) is not None
    if mpii and detections is not None:
        raise ValueError(f"{folder} is an MPII folder: PCKh is defined on its own people, not on detections")
    people = read_mpii(folder) if mpii else read_coco(folder, spec.joints)
    if people.skeleton != spec.joints:
        raise ValueError(f"{folder} has {people.skeleton.name}'s joints, but the network {spec.skeleton}'s")
    scores = np.ones(len(people))
    if detections is not None:
        people, scores = _detected(people, detections)
    if not len(people):
        raise ValueError(f"{detections or people.labels} has no people")
    order = np.argsort(people.image_of, kind="stable")
    people, scores = people.take(order), scores[order]
    batches = progress(crop_batches(people, spec, repeat(BATCH)), -(-len(people) // BATCH))
    points = np.concatenate([find_points(heatmaps_of, crops, affines, spec, flip=flip) for crops, affines in batches])
    results, joints = _results(people, points, scores), {} if detections else _found_joints(people, points)
    if mpii:
        figures = mpii_figures(points[..., :2], people.keypoints, read_head_sizes(folder, people))
        return Evaluation("PCKh", len(people), figures, results, joints)
    return Evaluation("OKS AP", len(people), coco_figures(people.labels, results, people.skeleton), results, joints)


def person_scores(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) the mean score of each person's sure joints; points (N, K, 3), the last being the score (HRNet)."""
    sure = points[..., 2] > SURE_JOINT
    return (points[..., 2] * sure).sum(1) / np.maximum(sure.sum(1), 1)


def figures_by_person(
    points: NDArray[np.floating], truth: NDArray[np.floating], areas: NDArray[np.floating], spec: PoseSpec
) -> dict[str, float]:
    """COCO's figures of points (N, K, 3) against labels (N, K, 3), areas (N,), in crop px: one person an image."""
    height, width = spec.input_size
    frame = {"category_id": PERSON_CATEGORY, "bbox": [0, 0, width, height], "iscrowd": 0}
    people: list[dict[str, Any]] = [
        {
            **frame,
            "id": row + 1,
            "image_id": row,
            "keypoints": truth[row].ravel().tolist(),
            "num_keypoints": int((truth[row, :, 2] > 0).sum()),
            "area": float(areas[row]),
        }
        for row in range(len(truth))
    ]
    labels = {
        "images": [{"id": row, "width": width, "height": height} for row in range(len(truth))],
        "annotations": people,
        "categories": [{"id": PERSON_CATEGORY, "name": "person", "keypoints": list(spec.joints.joints)}],
    }
    scores = person_scores(points)
    results = [
        {
            "image_id": row,
            "category_id": PERSON_CATEGORY,
            "keypoints": points[row].ravel().tolist(),
            "score": float(scores[row]),
        }
        for row in range(len(points))
    ]
    return coco_figures(labels, results, spec.joints)


def _found_joints(people: PoseData, points: NDArray[np.float32]) -> dict[str, float]:
    """PCK by joint."""
    sizes = (people.boxes[:, 2:] - people.boxes[:, :2]).max(1)
    shares = pck(points[..., :2], people.keypoints, sizes, JOINT_TOLERANCE)
    return dict(zip(people.skeleton.joints, shares.tolist(), strict=True))


def _results(people: PoseData, points: NDArray[np.float32], box_scores: NDArray[np.float64]) -> list[dict[str, Any]]:
    """COCO results: a person's score is the box's times the mean of its sure joints' (HRNet); duplicates are out."""
    joint_scores = person_scores(points)
    results = []
    for _, rows in people.by_image():
        scores = box_scores[rows] * joint_scores[rows]
        sides = people.boxes[rows, 2:] - people.boxes[rows, :2]
        for kept in distinct(points[rows], scores, sides.prod(1), people.skeleton):
            results.append(
                {
                    "image_id": int(people.image_ids[people.image_of[rows[kept]]]),
                    "category_id": PERSON_CATEGORY,
                    "keypoints": points[rows[kept]].astype(np.float64).ravel().tolist(),
                    "score": float(scores[kept]),
                }
            )
    return results


def _detected(people: PoseData, detections: Path) -> tuple[PoseData, NDArray[np.float64]]:
    """Detections in place of labelled people, and their scores (N,)."""
    place = {path.name: index for index, path in enumerate(people.images)}
    found = read_boxes(detections, list(place))
    image_of = np.concatenate([[0][:0], *([place[name]] * len(each.boxes) for name, each in found.items())])
    count = len(image_of)
    boxes = np.concatenate([np.empty((0, 4)), *(each.boxes for each in found.values())])
    scores = np.concatenate([np.empty(0), *(each.scores for each in found.values())])
    nobody = np.zeros((count, len(people.skeleton), 3))
    detected = replace(
        people,
        image_of=image_of.astype(np.int64),
        person_ids=np.arange(count),
        boxes=boxes,
        keypoints=nobody,
        areas=np.zeros(count),
    )
    return detected, scores


def figures_table(evaluation: Evaluation) -> str:
    """The figures as the field prints them: in percent, one line; then every joint's."""
    lines = [f"{evaluation.metric} of {evaluation.people} people, %", *_line(evaluation.figures)]
    if evaluation.joints:
        lines.append(f"joints found within {JOINT_TOLERANCE:.0%} of the longer side of their person's box, %")
        groups: dict[str, list[float]] = {}
        for name, share in evaluation.joints.items():
            groups.setdefault(name.removeprefix("left_").removeprefix("right_"), []).append(share)
        lines += _line({name: float(np.mean(shares)) for name, shares in groups.items()})
    return "\n".join(lines)


def _line(figures: dict[str, float]) -> tuple[str, str]:
    """Names, and figures below them in percent."""
    width = max(map(len, figures)) + 1
    header = "".join(f"{name:>{width}}" for name in figures)
    return header, "".join(f"{100 * value:{width}.1f}".replace("nan", "  -") for value in figures.values())

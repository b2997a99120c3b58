"""Evaluation of any function from crops to heatmaps, shared by the trainer, the parity ladder and the commands."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .batches import BadPicture, crop_batches
from .boxes import PERSON_CATEGORY, KnownImages, read_boxes
from .data import PoseData
from .labels import read_people
from .metrics import coco_metrics, mpii_metrics, pck
from .mpii import HEAD_SIZES, find_mpii_labels
from .points import Heatmapper, find_points
from .results import coco_results
from .sides import side_and_stem
from .spec import PoseSpec

JOINT_TOLERANCE = 0.1  # share of the longer side of a person's box within which a joint counts as found
BATCH = 32


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a network on a data folder."""

    metric: str
    """ "OKS AP" or "PCKh"."""
    people: int
    """Number of boxes that were run."""
    figures: dict[str, float]
    results: list[dict[str, Any]]
    """COCO keypoint results with the label file's ids, after OKS-NMS if enabled."""
    joints: dict[str, float] = field(default_factory=dict)
    """PCK by joint: share of labels found within JOINT_TOLERANCE; empty for detected boxes."""
    bad: list[BadPicture] = field(default_factory=list)
    """Images that could not be read; their people count as missed."""
    labels: dict[str, Any] = field(default_factory=dict)
    """Report on the label file: omissions and defaults (`Reading.facts`)."""
    note: str = ""
    """What stands beside the metrics (`Skeleton.oks_note`); empty if nothing."""


def evaluate(
    heatmaps_of: Heatmapper,
    folder: Path,
    spec: PoseSpec,
    *,
    split: str | None = None,
    detections: Path | None = None,
    flip: bool = False,
    nms: bool = True,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda batches, _: batches,
) -> Evaluation:
    """Evaluate on a data folder: OKS AP for COCO, PCKh for MPII.

    Boxes are those of the labels, or of `detections` (COCO detections with the label file's image ids). `nms` applies
    OKS-NMS, as HRNet does. `progress(batches, count)` may wrap the loop. ValueError if there are no people.
    """
    truth = read_people(folder, spec, split=split)
    spec = replace(spec, skeleton=truth.skeleton)  # of a bare ONNX file nobody named the joints
    mpii = find_mpii_labels(folder) is not None
    if mpii:
        _check_mpii(truth, folder, detections)
    people, scores = truth, np.ones(len(truth))
    if detections is not None:
        people, scores = _detected(truth, detections)
    if not len(people):
        raise ValueError(f"{detections or people.labels} has no people")
    order = np.argsort(people.image_of, kind="stable")
    people, scores, bad = people.take(order), scores[order], list[BadPicture]()
    batches = progress(crop_batches(people, spec, repeat(BATCH), bad), -(-len(people) // BATCH))
    points = np.concatenate([find_points(heatmaps_of, crops, affines, spec, flip=flip) for crops, affines in batches])
    results, joints = _results(people, points, scores, nms=nms), {} if detections else _found_joints(people, points)
    if mpii:
        assert people.head_sizes is not None
        figures = mpii_metrics(points[..., :2], people.keypoints, people.head_sizes)
    else:
        figures = coco_metrics(_truth(truth), results, truth.skeleton)
    metric, results = "PCKh" if mpii else "OKS AP", _with_ids(results, people)
    note = "" if mpii else truth.skeleton.oks_note
    return Evaluation(metric, len(people), figures, results, joints, bad, truth.reading.facts(), note)


def _with_ids(results: list[dict[str, Any]], people: PoseData) -> list[dict[str, Any]]:
    """Results of `_results` with the label file's ids of images and category."""
    return [
        {**result, "image_id": people.image_ids[result["image_id"]], "category_id": people.category}
        for result in results
    ]


def _check_mpii(people: PoseData, folder: Path, detections: Path | None) -> None:
    if detections is not None:
        raise ValueError(f"{folder} is an MPII folder: PCKh is defined on its own people, not on detections")
    if people.head_sizes is None:
        path = folder / HEAD_SIZES
        raise FileNotFoundError(f"no {path}: PCKh divides by each person's head size, [{{image, headsize}}, ...]")
    unknown = np.isnan(people.head_sizes)
    if unknown.any():
        name = people.images[people.image_of[int(unknown.argmax())]].name
        raise ValueError(f"{folder / HEAD_SIZES} has no head size for {name}")


def _truth(people: PoseData) -> dict[str, Any]:
    """Labels for pycocotools, with images and annotations renumbered."""
    annotations: list[dict[str, Any]] = []
    for group, crowd in ((people, 0), (people.crowds, 1)):
        if group is None:
            continue
        for row in range(len(group)):
            x1, y1, x2, y2 = group.boxes[row].tolist()
            keypoints = group.keypoints[row]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": int(group.image_of[row]),
                    "category_id": PERSON_CATEGORY,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": float(group.areas[row]),
                    "iscrowd": crowd,
                    "keypoints": keypoints.ravel().tolist(),
                    "num_keypoints": int((keypoints[:, 2] > 0).sum()),
                }
            )
    images = [{"id": index} for index in range(len(people.images))]
    categories = [{"id": PERSON_CATEGORY, "name": "person", "keypoints": list(people.skeleton.joints)}]
    return {"images": images, "annotations": annotations, "categories": categories}


def metrics_by_person(
    points: NDArray[np.floating], truth: NDArray[np.floating], areas: NDArray[np.floating], spec: PoseSpec
) -> dict[str, float]:
    """COCO metrics of points (N, K, 3) against labels (N, K, 3) and areas (N,), in crop px; one person per image."""
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
        "categories": [{"id": PERSON_CATEGORY, "name": "person", "keypoints": list(spec.skeleton.joints)}],
    }
    whole = np.array([[0.0, 0, width, height]])
    results: list[dict[str, Any]] = []
    for row in range(len(points)):
        one = slice(row, row + 1)
        results += coco_results(points[one], whole, image_id=row, category_id=PERSON_CATEGORY, skeleton=spec.skeleton)
    return coco_metrics(labels, results, spec.skeleton)


def _found_joints(people: PoseData, points: NDArray[np.float32]) -> dict[str, float]:
    """PCK by joint."""
    sizes = (people.boxes[:, 2:] - people.boxes[:, :2]).max(1)
    shares = pck(points[..., :2], people.keypoints, sizes, JOINT_TOLERANCE)
    return dict(zip(people.skeleton.joints, shares.tolist(), strict=True))


def _results(
    people: PoseData, points: NDArray[np.float32], box_scores: NDArray[np.float64], *, nms: bool
) -> list[dict[str, Any]]:
    """COCO results with the index of their image as id; people on unreadable images are left out."""
    results = []
    for _, rows in people.by_image():
        found = rows[np.isfinite(points[rows]).all((1, 2))]
        results += coco_results(
            points[found],
            people.boxes[found],
            image_id=int(people.image_of[rows[0]]),
            category_id=PERSON_CATEGORY,
            skeleton=people.skeleton,
            box_scores=box_scores[found],
            nms=nms,
        )
    return results


def _detected(people: PoseData, detections: Path) -> tuple[PoseData, NDArray[np.float64]]:
    """Detections in the form of labelled people, and their scores (N,)."""
    image_index = {path: index for index, path in enumerate(people.images)}
    known = KnownImages(dict(zip(people.image_ids, people.images, strict=True)), people.category)
    found = read_boxes(detections, people.images, known=lambda: known, skeleton=people.skeleton)
    image_of = np.concatenate([[0][:0], *([image_index[path]] * len(each.boxes) for path, each in found.items())])
    count = len(image_of)
    boxes = np.concatenate([np.empty((0, 4)), *(each.boxes for each in found.values())])
    scores = np.concatenate([np.empty(0), *(each.scores for each in found.values())])
    detected = replace(
        people,
        image_of=image_of.astype(np.int64),
        person_ids=np.arange(count).astype(object),
        boxes=boxes,
        keypoints=np.zeros((count, len(people.skeleton), 3)),
        areas=np.zeros(count),
    )
    return detected, scores


def metrics_table(evaluation: Evaluation) -> str:
    """Metrics as text: one line in percent, then the PCK of every joint."""
    lines = [f"{evaluation.metric} of {evaluation.people} people, %", *_line(evaluation.figures)]
    lines += [evaluation.note] if evaluation.note else []
    if evaluation.joints:
        lines.append(f"joints found within {JOINT_TOLERANCE:.0%} of the longer side of their person's box, %")
        groups: dict[str, list[float]] = {}
        for name, share in evaluation.joints.items():
            groups.setdefault(side_and_stem(name)[1], []).append(share)
        lines += _line({name: float(np.mean(shares)) for name, shares in groups.items()})
    return "\n".join(lines)


def _line(figures: dict[str, float]) -> tuple[str, str]:
    """A line of names and a line of figures in percent."""
    width = max(map(len, figures)) + 1
    header = "".join(f"{name:>{width}}" for name in figures)
    return header, "".join(f"{100 * value:{width}.1f}".replace("nan", "  -") for value in figures.values())

"""Keypoints of the people in image files, as COCO results and as pictures."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..files import write_bytes, write_text
from ..pose.boxes import PERSON_CATEGORY, PersonBoxes, read_boxes
from ..pose.crop import Image
from ..pose.pictures import read_image
from .draw import draw_poses
from .estimator import PoseEstimator, Poses, whole_image

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
RESULTS = "keypoints.json"


@dataclass(frozen=True)
class Prediction:
    """The people found in one file."""

    path: Path
    image: Image
    people: PersonBoxes
    poses: Poses


def list_images(source: Path) -> list[Path]:
    """An image, or the images of a folder by name."""
    if source.is_dir():
        found = sorted(path for path in source.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise ValueError(f"no images in {source}; their names end in {', '.join(IMAGE_SUFFIXES)}")
        return found
    if not source.exists():
        raise FileNotFoundError(f"no image at {source}")
    return [source]


def predict_files(estimator: PoseEstimator, paths: Sequence[Path], boxes: Path | None = None) -> Iterator[Prediction]:
    """Predict file by file. Without a box file each image is taken as one person who fills it."""
    known = None if boxes is None else read_boxes(boxes, [path.name for path in paths])
    if known is not None and not known:
        raise ValueError(f"{boxes} has boxes for none of the {len(paths)} images, the first being {paths[0].name}")
    for path in paths:
        image = read_image(path)
        if known is None:
            people = PersonBoxes(np.array([whole_image(image)]), np.ones(1))
        elif path.name in known:
            people = known[path.name]
        else:
            log.warning("%s has no boxes in %s: left out", path.name, boxes)
            continue
        yield Prediction(path, image, people, estimator(image, people.boxes))


def predict_to_folder(
    estimator: PoseEstimator, paths: Sequence[Path], boxes: Path | None, out: Path | None, min_score: float
) -> list[Prediction]:
    """Predict, and with `out` write a picture of each image as it is done and `keypoints.json` at the end."""
    predictions = []
    for prediction in predict_files(estimator, paths, boxes):
        if out is not None:
            _make_folder(out)
            write_picture(out / f"{prediction.path.stem}.png", prediction, estimator, min_score)
        predictions.append(prediction)
    if out is not None:
        write_results(out / RESULTS, coco_results(predictions))
    return predictions


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot write {folder}: {error.strerror}; choose a folder that can be written") from error


def coco_results(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """COCO's keypoint results: pycocotools' `loadRes` takes them where the images have COCO's ids.

    An image without one is numbered by its name's digits, else by its place. A person's score is the box's
    times the mean of its joints'.
    """
    results = []
    for place, prediction in enumerate(predictions, start=1):
        stem, known = prediction.path.stem, prediction.people.image_id
        image_id = known if known is not None else int(stem) if stem.isdecimal() else place
        poses = prediction.poses
        keypoints = np.concatenate((poses.xy, poses.score[..., None]), axis=2).astype(np.float64).round(4)
        scores = prediction.people.scores * poses.score.mean(1, dtype=np.float64)
        for person in range(len(poses)):
            x1, y1, x2, y2 = poses.boxes[person].tolist()
            results.append(
                {
                    "image_id": image_id,
                    "file_name": prediction.path.name,
                    "category_id": PERSON_CATEGORY,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "keypoints": keypoints[person].ravel().tolist(),
                    "score": float(scores[person]),
                }
            )
    return results


def write_results(path: Path, results: list[dict[str, Any]]) -> None:
    """Write results as JSON, whole or not at all."""
    write_text(path, json.dumps(results) + "\n")


def write_picture(path: Path, prediction: Prediction, estimator: PoseEstimator, min_score: float) -> None:
    """Write the image with its skeletons drawn; the suffix of `path` names the format."""
    drawn = draw_poses(prediction.image, prediction.poses, estimator.spec.joints, min_score)
    done, encoded = cv2.imencode(path.suffix, drawn)
    if not done:
        raise RuntimeError(f"OpenCV could not encode {path}")
    write_bytes(path, encoded.tobytes())

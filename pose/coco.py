"""People of a data folder in COCO's form."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .crop import check_boxes


@dataclass(frozen=True)
class LabelledPeople:
    """The people of one image who have keypoints."""

    image: Path
    boxes: NDArray[np.float64]
    """(N, 4) xyxy, image px."""
    keypoints: NDArray[np.float64]
    """(N, K, 3) x, y in image px, and visibility: 0 not labelled, 1 hidden, 2 seen."""


def find_labels(folder: Path) -> tuple[Path, Path]:
    """The label file and the image folder of `person_keypoints.json` + `images/`, or of COCO's own layout."""
    candidates = [(folder / "person_keypoints.json", folder / "images")]
    candidates += [
        (path, folder / path.stem.removeprefix("person_keypoints_"))
        for path in sorted((folder / "annotations").glob("person_keypoints_*.json"), reverse=True)  # val before train
    ]
    for labels, images in candidates:
        if labels.is_file() and images.is_dir():
            return labels, images
    raise FileNotFoundError(
        f"{folder} is no COCO data folder: it has neither person_keypoints.json + images/ "
        "nor annotations/person_keypoints_val2017.json + val2017/"
    )


def read_people(folder: Path) -> list[LabelledPeople]:
    """Everyone with labelled keypoints, image by image in the label file's order; crowds are left out."""
    labels, images = find_labels(folder)
    try:
        content = json.loads(labels.read_text(encoding="utf-8"))
        names = {image["id"]: image["file_name"] for image in content["images"]}
        by_image = defaultdict(list)
        for person in content["annotations"]:
            if person.get("num_keypoints") and not person.get("iscrowd"):
                by_image[person["image_id"]].append(person)
        return [_people(images / names[image], by_image[image]) for image in names if image in by_image]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{labels} cannot be read: {error!r}") from error


def _people(image: Path, people: list[dict]) -> LabelledPeople:
    sides = np.array([person["bbox"] for person in people], dtype=np.float64)
    boxes = np.concatenate((sides[:, :2], sides[:, :2] + sides[:, 2:]), axis=1)
    keypoints = np.array([person["keypoints"] for person in people], dtype=np.float64)
    return LabelledPeople(image, check_boxes(boxes), keypoints.reshape(len(people), -1, 3))

"""People of a data folder in COCO's form; everything that could stop a long run is checked when it is read."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..parsing import naming
from .crop import broken_boxes, corners
from .data import PoseData
from .skeleton import COCO17, Skeleton


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


def read_coco(folder: Path, skeleton: Skeleton = COCO17) -> PoseData:
    """Everyone who is no crowd, with or without keypoints.

    Raises FileNotFoundError for a missing label file or image, and ValueError with the file and the id for damaged
    JSON, duplicate ids, a category without keypoints or with another number of them, NaN, and boxes off their image.
    """
    labels, images = find_labels(folder)
    with naming(labels):
        content = json.loads(labels.read_text(encoding="utf-8"))
        entries, people = content["images"], [entry for entry in content["annotations"] if not entry.get("iscrowd")]
        _check_ids(entries, content["annotations"])
        _check_category(content["categories"], skeleton)
        data = _assemble(labels, images, entries, people, skeleton)
    return data.with_images()


def _assemble(
    labels: Path,
    images: Path,
    entries: Sequence[Mapping[str, Any]],
    people: Sequence[Mapping[str, Any]],
    skeleton: Skeleton,
) -> PoseData:
    place = {entry["id"]: index for index, entry in enumerate(entries)}
    unknown = next((person["id"] for person in people if person["image_id"] not in place), None)
    if unknown is not None:
        raise ValueError(f"annotation {unknown} is on an image that the file does not list")
    ids = np.array([person["id"] for person in people], dtype=np.int64)
    keypoints = _keypoints(people, skeleton)
    boxes = corners(np.array([person["bbox"] for person in people], dtype=np.float64).reshape(-1, 4))
    image_of = np.array([place[person["image_id"]] for person in people], dtype=np.int64)
    sizes = np.array([(entry["width"], entry["height"]) for entry in entries], dtype=np.float64).reshape(-1, 2)
    _check_boxes(boxes, sizes[image_of], ids)
    return PoseData(
        skeleton=skeleton,
        images=tuple(images / entry["file_name"] for entry in entries),
        image_ids=np.array([entry["id"] for entry in entries], dtype=np.int64),
        image_of=image_of,
        person_ids=ids,
        boxes=boxes,
        keypoints=keypoints,
        areas=np.array([person.get("area", 0) for person in people], dtype=np.float64),
        labels=labels,
    )


def _keypoints(people: Sequence[Mapping[str, Any]], skeleton: Skeleton) -> NDArray[np.float64]:
    """(N, K, 3); a person without the field has none labelled."""
    count = 3 * len(skeleton)
    rows = [person.get("keypoints") or [0] * count for person in people]
    for person, row in zip(people, rows, strict=True):
        if len(row) != count:
            raise ValueError(
                f"annotation {person['id']} has {len(row) / 3:g} joints, {skeleton.name} has {len(skeleton)}"
            )
    keypoints = np.array(rows, dtype=np.float64).reshape(len(people), len(skeleton), 3)
    broken = ~np.isfinite(keypoints).all((1, 2))
    if broken.any():
        raise ValueError(f"annotation {people[int(broken.argmax())]['id']} has keypoints that are not finite")
    return keypoints


def _check_ids(*groups: Sequence[Mapping[str, Any]]) -> None:
    for kind, group in zip(("image", "annotation"), groups, strict=True):
        repeated = [name for name, count in Counter(entry["id"] for entry in group).items() if count > 1]
        if repeated:
            raise ValueError(f"{kind} id {repeated[0]} occurs more than once")


def _check_category(categories: Sequence[Mapping[str, Any]], skeleton: Skeleton) -> None:
    joints = [len(category["keypoints"]) for category in categories if category.get("keypoints")]
    if not joints:
        raise ValueError("no category has keypoints; expected COCO's person category with its joints' names")
    if len(skeleton) not in joints:
        raise ValueError(f"its categories have {joints} joints, but {skeleton.name} has {len(skeleton)}")


def _check_boxes(boxes: NDArray[np.float64], sizes: NDArray[np.float64], ids: NDArray[np.int64]) -> None:
    broken = broken_boxes(boxes)
    outside = (boxes[:, 2:] <= 0).any(1) | (boxes[:, :2] >= sizes).any(1)
    for wrong, reason in ((broken, "is not finite or has no area"), (outside, "lies outside its image")):
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(f"annotation {ids[row]}: its box {boxes[row].round(1).tolist()} (xyxy) {reason}")

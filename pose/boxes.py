"""Person boxes from files: COCO annotations, COCO detections, or plain xyxy lists."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..parsing import naming
from .crop import check_boxes, corners

PERSON_CATEGORY = 1  # COCO


@dataclass(frozen=True)
class PersonBoxes:
    """The people of one image."""

    boxes: NDArray[np.float64]
    """(N, 4) xyxy, image px."""
    scores: NDArray[np.float64]
    """(N,) the detector's, or 1."""
    image_id: int | None = None
    """COCO's, where the file has one."""


def read_boxes(path: Path, image_names: list[str]) -> dict[str, PersonBoxes]:
    """Boxes by image file name, for those of `image_names` that the file knows.

    The file is COCO annotations (images and annotations; crowds are left out), COCO detections (a list with
    image_id and bbox; image 785 is 000000000785.jpg), {"a.jpg": [[x1, y1, x2, y2], ...]}, or for a single image
    just [[x1, y1, x2, y2], ...]. ValueError names the entry that is wrong.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"no box file at {path}") from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    with naming(path):
        match content:
            case {"images": list(images), "annotations": list(annotations)}:
                names = {image["id"]: Path(image["file_name"]).name for image in images}
                people = [entry for entry in annotations if not entry.get("iscrowd")]
                found = _from_coco(people, names)
            case [{"image_id": _}, *_]:
                names = {int(Path(name).stem): name for name in image_names if Path(name).stem.isdecimal()}
                found = _from_coco(content, names)
            case dict():
                found = {name: _plain(boxes, name) for name, boxes in content.items()}
            case list() if len(image_names) == 1:
                found = {image_names[0]: _plain(content, image_names[0])}
            case _:
                raise ValueError("a bare list of boxes fits a single image only")
    return {name: boxes for name, boxes in found.items() if name in set(image_names)}


def _from_coco(entries: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> dict[str, PersonBoxes]:
    """COCO's xywh by image; entries of other categories or unknown images are left out."""
    by_image: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in entries:
        if entry.get("category_id", PERSON_CATEGORY) == PERSON_CATEGORY and entry["image_id"] in names:
            by_image[entry["image_id"]].append(entry)
    found = {}
    for image_id, people in by_image.items():
        sides = np.array([person["bbox"] for person in people], dtype=np.float64)
        if sides.ndim != 2 or sides.shape[1] != 4:
            raise ValueError(f"image {image_id}: bbox has shape {sides.shape[1:]}, expected x, y, width, height")
        scores = np.array([person.get("score", 1.0) for person in people], dtype=np.float64)
        try:
            found[names[image_id]] = PersonBoxes(check_boxes(corners(sides)), scores, image_id)
        except ValueError as error:
            raise ValueError(f"image {image_id}: {error}") from error
    return found


def _plain(boxes: object, name: str) -> PersonBoxes:
    try:
        checked = check_boxes(boxes)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error
    return PersonBoxes(checked, np.ones(len(checked)))

"""Person boxes from files: COCO annotations, COCO detections, or plain xyxy lists.

Entries are matched to images by image id or by path. A path matches an image whose own path ends with it; the longest
match wins.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..parsing import naming, read_json
from .coco import NOT_NEEDED, PERSON_CATEGORY, is_id, likely_person, person_categories
from .crop import check_boxes, corners
from .data import ImageId
from .skeleton import Skeleton

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PersonBoxes:
    """The person boxes of one image, possibly none."""

    boxes: NDArray[np.float64]
    """(N, 4) xyxy, image px."""
    scores: NDArray[np.float64]
    """(N,) scores of the detector, or 1."""
    image_id: ImageId | None = None
    """Image id of the file, if it has one."""
    size: tuple[int, int] | None = None
    """(width, height) of the image by the file, if given."""


@dataclass(frozen=True)
class KnownImages:
    """Images of a label file, to which detections refer by id."""

    ids: Mapping[ImageId, Path]
    category: ImageId
    """Id of the person category."""


def read_boxes(
    path: Path,
    pictures: Sequence[Path],
    *,
    root: Path | None = None,
    skeleton: Skeleton | None = None,
    known: Callable[[], KnownImages | None] = lambda: None,
    category: int | None = None,
) -> dict[Path, PersonBoxes]:
    """Read person boxes by image, for those of `pictures` that the file has.

    Args:
        path: COCO annotations (crowds are left out), COCO detections (a list with image_id and bbox),
            {"a/b.jpg": [[x1, y1, x2, y2], ...]}, or for a single picture just [[x1, y1, x2, y2], ...].
        pictures: the image files that boxes are wanted for.
        root: the folder that the file's paths are relative to, if known; it contains all pictures.
        skeleton: identifies the person category of an annotation file by its joints.
        known: returns the images that detections refer to by id. Without it, the last digits of a file name are taken
            as its id, with a warning.
        category: id of the person category in a list of detections, if ambiguous.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: an entry is invalid or matches two images; the message names it.
    """
    content = read_json(path, leave_out=NOT_NEEDED, nan=True)
    with naming(path):
        match content:
            case {"images": list(), "annotations": list()}:
                return _from_annotations(content, pictures, root, skeleton)
            case [{"image_id": _}, *_] | []:
                return _from_detections(content, pictures, known(), category)
            case dict():
                chosen = match_names(content, pictures, root)
                return {picture: _plain(content[name], name) for name, picture in chosen.items()}
            case list() if len(pictures) == 1:
                return {pictures[0]: _plain(content, pictures[0].name)}
            case list():
                raise ValueError("a bare list of boxes fits a single image only")
        raise ValueError(f"it holds {type(content).__name__}, expected COCO JSON or boxes by file name")


def match_names(names: Iterable[str], pictures: Sequence[Path], root: Path | None = None) -> dict[str, Path]:
    """Match names to `pictures`; names without a match are left out.

    A path relative to `root` takes precedence; else the longest name that an image's path ends with. ValueError if a
    name matches two images, because it is too short.
    """
    named = {name: PurePosixPath(name.replace("\\", "/")).parts for name in names}
    lengths = {len(parts) for parts in named.values()}
    ends: dict[tuple[str, ...], list[Path]] = {}
    for picture in pictures:
        parts = picture.absolute().parts
        for length in lengths:
            ends.setdefault(parts[-length:] if length else (), []).append(picture)
    within = {} if root is None else {picture.relative_to(root).parts: picture for picture in pictures}
    taken: dict[Path, str] = {}
    for name in sorted(named, key=lambda name: (named[name] not in within, -len(named[name]))):
        exact = within.get(named[name])
        meant = [exact] if exact else [each for each in ends.get(named[name], []) if each not in taken]
        if len(meant) > 1:
            raise ValueError(f"{name!r} could be {meant[0]} or {meant[1]}; give more of its path")
        if meant:
            taken[meant[0]] = name
    return {name: picture for picture, name in taken.items()}


def _from_annotations(
    content: Mapping[str, Any], pictures: Sequence[Path], root: Path | None, skeleton: Skeleton | None
) -> dict[Path, PersonBoxes]:
    entries = [entry for entry in content["images"] if isinstance(entry, Mapping) and is_id(entry.get("id"))]
    by_name = {entry["file_name"]: entry for entry in entries if isinstance(entry.get("file_name"), str)}
    chosen = match_names(by_name, pictures, root)
    people = [entry for entry in content["annotations"] if isinstance(entry, Mapping)]
    kinds = _kinds_of(content.get("categories"), skeleton) or (likely_person(people),)
    by_id: dict[ImageId, list[Mapping[str, Any]]] = {by_name[name]["id"]: [] for name in chosen}
    for entry in people:
        known = is_id(entry.get("image_id")) and entry["image_id"] in by_id
        if known and entry.get("category_id", kinds[0]) in kinds and not entry.get("iscrowd"):
            by_id[entry["image_id"]].append(entry)
    found = {}
    for name, picture in chosen.items():
        entry = by_name[name]
        size = (entry.get("width"), entry.get("height"))
        whole = size if all(isinstance(side, int) and side > 0 for side in size) else None
        found[picture] = _people(by_id[entry["id"]], entry["id"], whole, lenient=True)
    return found


def _kinds_of(categories: object, skeleton: Skeleton | None) -> tuple[ImageId, ...]:
    """Ids of the categories that are people; empty where there are no categories."""
    if skeleton is not None:
        try:
            return person_categories(categories, skeleton)
        except ValueError:
            pass  # boxes need no joints: a category named "person" is enough
    named = [each for each in categories if isinstance(each, Mapping)] if isinstance(categories, list) else []
    persons = [each["id"] for each in named if each.get("name") == "person" and is_id(each.get("id"))]
    if persons:
        return (persons[0],)
    if not named:
        return ()
    return (named[0]["id"],) if len(named) == 1 and is_id(named[0].get("id")) else (PERSON_CATEGORY,)


def _from_detections(
    entries: Sequence[Any], pictures: Sequence[Path], known: KnownImages | None, category: int | None
) -> dict[Path, PersonBoxes]:
    for number, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not is_id(entry.get("image_id")):
            raise ValueError(f"entry {number} has no image_id, expected a detection with image_id and bbox")
    if not entries:
        return {picture: _people([], None, None) for picture in pictures}
    if known is not None:
        wanted = set(pictures)
        ids = {image_id: picture for image_id, picture in known.ids.items() if picture in wanted}
    else:
        ids = _ids_by_name(pictures)
        log.warning("no label file maps image_id to images: the last digits of the file names are taken as ids")
    person = _person_among(entries, known, category)
    by_id: dict[ImageId, list[Mapping[str, Any]]] = {image_id: [] for image_id in ids}
    for entry in entries:
        image_id = _same_id(entry["image_id"], by_id)
        if image_id is not None and entry.get("category_id", person) == person:
            by_id[image_id].append(entry)
    return {
        ids[image_id]: _people(people, image_id, None)
        for image_id, people in by_id.items()
        if people or known is not None  # an image of the label file without detections has no people
    }


def _same_id(image_id: ImageId, ids: Mapping[ImageId, Any]) -> ImageId | None:
    """The equal id among `ids`, whether written as a number or as a text; None if there is none."""
    if image_id in ids:
        return image_id
    other = str(image_id) if isinstance(image_id, int) else int(image_id) if image_id.isdecimal() else None
    return other if other is not None and other in ids else None


def _ids_by_name(pictures: Sequence[Path]) -> dict[ImageId, Path]:
    """Images by id, the last digits of the name, as in COCO_val2014_000000000785.jpg, or else the name."""
    ids: dict[ImageId, Path] = {}
    for picture in pictures:
        digits = re.search(r"[0-9]+$", picture.stem)
        image_id = int(digits[0][-18:]) if digits else picture.stem
        if image_id in ids:
            raise ValueError(
                f"image {image_id} could be {ids[image_id]} or {picture}: give the boxes by the pictures' paths"
            )
        ids[image_id] = picture
    return ids


def _person_among(entries: Sequence[Mapping[str, Any]], known: KnownImages | None, category: int | None) -> Any:
    """The person category: the given one, else the label file's, else a guess from the entries."""
    if category is not None:
        return category
    return known.category if known is not None else likely_person(entries)


def _people(
    people: Sequence[Mapping[str, Any]],
    image_id: ImageId | None,
    size: tuple[Any, ...] | None,
    *,
    lenient: bool = False,
) -> PersonBoxes:
    """Boxes of one image from COCO's xywh and scores; `lenient` leaves out boxes without area instead of raising."""
    rows = []
    for person in people:
        box, score = person.get("bbox"), person.get("score", 1.0)
        if not isinstance(box, list) or len(box) != 4 or not all(_is_number(side) for side in box):
            raise ValueError(f"image {image_id}: bbox is {box!r:.60}, expected x, y, width, height")
        if not _is_number(score) or not np.isfinite(score):
            raise ValueError(f"image {image_id}: score is {score!r:.60}, expected a finite number")
        if lenient and not (box[2] > 0 and box[3] > 0):
            log.warning("image %s: a person whose box %s has no area is left out", image_id, box)
            continue
        rows.append((*box, score))
    values = np.array(rows, np.float64).reshape(-1, 5)
    try:
        boxes = check_boxes(corners(values[:, :4]))
    except ValueError as error:
        raise ValueError(f"image {image_id}: {error}") from error
    return PersonBoxes(boxes, values[:, 4], image_id, None if size is None else (size[0], size[1]))


def _is_number(value: object) -> bool:
    """Whether a value is a number that fits a float; NaN counts."""
    return isinstance(value, float) or (type(value) is int and abs(value) < 1 << 53)


def _plain(boxes: object, name: str) -> PersonBoxes:
    try:
        checked = check_boxes(boxes)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error
    return PersonBoxes(checked, np.ones(len(checked)))

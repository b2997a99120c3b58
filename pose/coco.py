"""Reader for COCO data folders. It validates everything, so that later code can rely on the result.

Ids, categories, paths and splits are taken from the label file. Invalid entries are left out and counted; a file is
refused only if no entries are left or its ids are contradictory.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..parsing import naming, read_json
from .crop import corners
from .data import ImageId, PoseData
from .reading import Reading
from .sides import side_and_stem
from .skeleton import COCO17, Skeleton
from .skeleton_files import skeleton_of

log = logging.getLogger(__name__)

Purpose = Literal["train", "val"]
PERSON_CATEGORY = 1  # COCO's
AREA_OF_BOX = 0.53  # a COCO person's segment against their box, on average
NOT_NEEDED = frozenset({"segmentation"})  # most of the size of COCO's files: dropped during parsing


def find_labels(folder: Path, split: str | None = None, purpose: Purpose = "val") -> tuple[Path, Path, str]:
    """Find a data folder's label file and image folder; the third value describes the chosen split, if several.

    A folder holds `person_keypoints.json` + `images/`, or COCO's own `annotations/person_keypoints_SPLIT.json` with
    `SPLIT/` or `images/SPLIT/`. `split` is the name of a split or a prefix of it ("train"); without it, `purpose` is
    the prefix. ValueError if several splits match.
    """
    plain = folder / "person_keypoints.json"
    if plain.is_file() and (folder / "images").is_dir() and split is None:
        return plain, folder / "images", ""
    found = {}
    for path in sorted((folder / "annotations").glob("person_keypoints_*.json")):
        name = path.stem.removeprefix("person_keypoints_")
        images = next((each for each in (folder / name, folder / "images" / name) if each.is_dir()), None)
        if images is not None:
            found[name] = path, images
    wanted = [name for name in found if name.startswith(split or purpose)] or ([] if split else list(found))
    wanted = [split] if split in found else wanted
    if len(wanted) > 1:
        raise ValueError(f"{folder} holds {', '.join(found)}: choose one, such as --split {wanted[0]}")
    if not wanted:
        raise FileNotFoundError(
            f"{folder} is not a COCO data folder{f' with a split {split!r}' if split else ''}: it has neither "
            "person_keypoints.json + images/ nor annotations/person_keypoints_SPLIT.json + SPLIT/ (such as val2017)"
            + (f"; it has {', '.join(found)}" if found else "")
        )
    (name,) = wanted
    return *found[name], f"split {name}"


def read_coco(
    folder: Path,
    skeleton: Skeleton = COCO17,
    *,
    split: str | None = None,
    purpose: Purpose = "val",
    own_skeleton: bool = False,
) -> PoseData:
    """Read all people who are not crowds, with or without keypoints; `reading` records omissions and defaults.

    With `own_skeleton` the skeleton is the label file's own, and `skeleton` only stands in for one without categories.

    Raises FileNotFoundError for a missing label file or image, and ValueError naming the file for damaged JSON,
    duplicate ids, a person category with other joints, images of another size, and a file without valid entries.
    """
    labels, images, taken = find_labels(folder, split, purpose)
    content = read_json(labels, leave_out=NOT_NEEDED, nan=True)
    reading = Reading(labels, taken)
    with naming(labels):
        if own_skeleton and isinstance(content, dict):
            skeleton = skeleton_of(content) or skeleton
        people, sizes = _Reader(skeleton, reading).read(content, labels, images)
    reading.say()
    return people.with_pictures(sizes)


def person_category(categories: object, skeleton: Skeleton) -> ImageId | None:
    """Id that results are given: of the first of `person_categories`; None if there are no categories."""
    return next(iter(person_categories(categories, skeleton)), None)


def person_categories(categories: object, skeleton: Skeleton) -> tuple[ImageId, ...]:
    """Ids of the categories whose entries are read: that with the skeleton's joints, or with the name "person".

    Several that share the skeleton's joints, such as the species of an animal dataset, are all read, as one kind,
    unless one is called "person". Empty if there are no categories; ValueError where none fits or the joints differ.
    """
    if categories is None or categories == []:
        return ()
    if not isinstance(categories, list) or not all(isinstance(each, Mapping) for each in categories):
        raise ValueError("categories is no list of objects, expected COCO's person category with its joints' names")
    jointed = [each for each in categories if each.get("keypoints")]
    fitting = [each for each in jointed if _names(each) is not None and len(_names(each) or ()) == len(skeleton)]
    if jointed and not fitting:
        counts = [len(_names(each) or ()) for each in jointed]
        raise ValueError(f"its categories have {counts} joints, but {skeleton.name} has {len(skeleton)}")
    named = [each for each in fitting or categories if each.get("name") == "person"]
    chosen = named if named else fitting
    if not chosen or len(named) > 1 or any(_names(each) != _names(chosen[0]) for each in chosen):
        raise ValueError("no category has keypoints or is called person, or several are: which are people?")
    _check_order(_names(chosen[0]), skeleton)
    for each in chosen:
        if not is_id(each.get("id")):
            raise ValueError(f"the id of its person category is {each.get('id')!r}, expected a number or a text")
    return tuple(each["id"] for each in chosen)


def likely_person(entries: Sequence[Mapping[str, Any]]) -> ImageId:
    """Guess the person category of entries without category names: COCO's 1, or the only one; else ValueError."""
    kinds = {entry["category_id"] for entry in entries if is_id(entry.get("category_id"))}
    if not kinds or (PERSON_CATEGORY in kinds and 0 not in kinds):
        return PERSON_CATEGORY
    if len(kinds) == 1:
        (only,) = kinds
        log.warning("all entries have category %s, which is assumed to be the person's", only)
        return only
    shown = ", ".join(map(str, sorted(kinds, key=str)[:6]))
    raise ValueError(f"its categories are {shown}: name the person's with --person-category, for detections")


def _names(category: Mapping[str, Any]) -> list[str] | None:
    names = category.get("keypoints")
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _check_order(names: list[str] | None, skeleton: Skeleton) -> None:
    """Raise ValueError if a joint of the file is one of the skeleton's at another place, however it is written."""
    places = {side_and_stem(name): place for place, name in enumerate(skeleton.joints)}
    for index, name in enumerate(names or ()):
        if places.get(side_and_stem(name), index) != index:
            raise ValueError(
                f"its joints come in another order than {skeleton.name}'s: joint {index} is {name!r}, "
                f"expected {skeleton.joints[index]!r}; sort the joints of every person"
            )


def is_id(value: object) -> bool:
    """Whether a value is a valid id: a number or a text."""
    return isinstance(value, int | str) and not isinstance(value, bool)


def leads_outside(name: str) -> bool:
    """Whether a path of a label file leaves the image folder on any operating system, or is not a valid path."""
    windows = PureWindowsPath(name)
    return (
        not name
        or "\0" in name
        or PurePosixPath(name).is_absolute()
        or bool(windows.drive or windows.root)
        or ".." in windows.parts
    )


class _Reader:
    """Validates the entries of a label file and converts them to arrays."""

    def __init__(self, skeleton: Skeleton, reading: Reading) -> None:
        self.skeleton, self.reading = skeleton, reading
        self.sizes: dict[ImageId, tuple[float, float]] = {}

    def read(self, content: Any, labels: Path, images: Path) -> tuple[PoseData, NDArray[np.int64]]:
        """The people, and the images' labelled (width, height) (M, 2), 0 if not given."""
        if not isinstance(content, dict):
            raise ValueError(f"it holds {type(content).__name__}, expected an object with images and annotations")
        entries, rows = (_list(content, name) for name in ("images", "annotations"))
        named = person_categories(content.get("categories"), self.skeleton)
        category = named[0] if named else likely_person([row for row in rows if isinstance(row, Mapping)])
        categories = named or (category,)
        if len(categories) > 1:
            log.warning("%d categories share these joints: their entries are read as one kind", len(categories))
        entries = self._images(entries)
        image_index = {entry["id"]: index for index, entry in enumerate(entries)}
        sizes = [(entry.get("width") or 0, entry.get("height") or 0) for entry in entries]
        self.sizes = {entry["id"]: size for entry, size in zip(entries, sizes, strict=True) if all(size)}
        known: set[ImageId] = set()
        usable = [row for number, row in enumerate(rows) if self._usable(number, row, image_index, categories, known)]
        people = [row for row in usable if not row.get("iscrowd")]
        groups = [row for row in usable if row.get("iscrowd")]
        self._count_defaults(people)
        self.reading.used = {"images": len(entries), "people": len(people), "crowds": len(groups)}
        self.reading.require("annotations", len(usable))
        files = tuple(images / entry["file_name"] for entry in entries)

        def assembled(group: Sequence[Mapping[str, Any]], crowds: PoseData | None) -> PoseData:
            return PoseData(
                skeleton=self.skeleton,
                images=files,
                image_ids=tuple(image_index),
                labels=labels,
                reading=self.reading,
                category=category,
                crowds=crowds,
                **self._arrays(group, image_index),
            )

        return assembled(people, assembled(groups, None)), np.array(sizes, np.int64).reshape(-1, 2)

    def _arrays(self, people: Sequence[Mapping[str, Any]], image_index: Mapping[ImageId, int]) -> dict[str, Any]:
        count = len(people)
        boxes = corners(np.array([row["bbox"] for row in people], np.float64).reshape(count, 4))
        sides = boxes[:, 2:] - boxes[:, :2]
        areas = [row["area"] if row.get("area") is not None else np.nan for row in people]
        areas = np.array(areas, np.float64).reshape(count)
        none = [0] * (3 * len(self.skeleton))
        keypoints = np.array([row.get("keypoints") or none for row in people], np.float64)
        ids = np.empty(count, object)
        ids[:] = [row.get("id") for row in people]
        return {
            "image_of": np.array([image_index[row["image_id"]] for row in people], np.int64).reshape(count),
            "person_ids": ids,
            "boxes": boxes,
            "keypoints": keypoints.reshape(count, len(self.skeleton), 3),
            "areas": np.where(np.isnan(areas), AREA_OF_BOX * sides.prod(1), areas),
        }

    def _images(self, entries: Sequence[Any]) -> list[Mapping[str, Any]]:
        """The valid image entries; ValueError if an id is used for two files."""
        names: dict[ImageId, str] = {}
        used = []
        for number, entry in enumerate(entries):
            reason = _image_fault(entry)
            if reason:
                self.reading.leave_out(_called("image", number, entry), reason)
            elif entry["id"] in names:
                if names[entry["id"]] != entry["file_name"]:
                    raise ValueError(f"image id {entry['id']!r} occurs more than once, for different files")
                self.reading.leave_out(_called("image", number, entry), "it is listed twice")
            else:
                names[entry["id"]] = entry["file_name"]
                used.append(entry)
        self.reading.require("images", len(used))
        return used

    def _usable(
        self,
        number: int,
        row: Any,
        image_index: Mapping[ImageId, int],
        categories: tuple[ImageId, ...],
        known: set[ImageId],
    ) -> bool:
        """Whether an annotation is a valid person or crowd; faults are counted."""
        if not isinstance(row, Mapping):
            self.reading.leave_out(f"annotation number {number}", "it is no object")
            return False
        kind = row.get("category_id")
        if kind is not None and kind not in categories:
            self.reading.fill(f"another category than the person's ({_listed(categories)}): not counted")
            return False
        reason = next((reason for check in (self._fault, self._pose_fault) if (reason := check(row, image_index))), "")
        if not reason and "id" in row:
            if row["id"] in known:
                raise ValueError(f"annotation id {row['id']!r} occurs more than once")
            known.add(row["id"])
        if reason:
            self.reading.leave_out(_called("annotation", number, row), reason)
        return not reason

    def _fault(self, row: Mapping[str, Any], image_index: Mapping[ImageId, int]) -> str:
        """Why an annotation's ids, box or area are invalid; empty if they are valid."""
        checks = {
            "its id is no number or text": "id" not in row or is_id(row["id"]),
            "it is on an image that the file does not list": is_id(row.get("image_id"))
            and row["image_id"] in image_index,
            "its iscrowd is neither 0 nor 1": row.get("iscrowd") in (None, 0, 1),
        }
        wrong = next((reason for reason, fine in checks.items() if not fine), "")
        wrong = wrong or _box_fault(row.get("bbox"), *self.sizes.get(row["image_id"], (np.inf, np.inf)))
        area = row.get("area")
        fine = area is None or (_numbers([area], 1) and area > 0)
        return wrong or ("" if fine else "its area is no positive number")

    def _pose_fault(self, row: Mapping[str, Any], image_index: Mapping[ImageId, int]) -> str:  # noqa: ARG002 - as `_fault`
        joints = row.get("keypoints")
        if joints is None or joints == []:
            return ""
        count = 3 * len(self.skeleton)
        if not isinstance(joints, list) or len(joints) != count:
            found = f"{len(joints) / 3:g} joints" if isinstance(joints, list) else "no list of joints"
            return f"it has {found}, {self.skeleton.name} has {len(self.skeleton)}"
        if not _numbers(joints, count):
            return "its keypoints are not finite numbers"
        if any(value not in (0, 1, 2) for value in joints[2::3]):
            return "a joint's visibility is neither 0, 1 nor 2"
        return ""

    def _count_defaults(self, people: Sequence[Mapping[str, Any]]) -> None:
        fill: Callable[[str, int], None] = self.reading.fill
        fill(f"no area: {AREA_OF_BOX} of the box", sum(row.get("area") is None for row in people))
        fill("no iscrowd: a single person", sum(row.get("iscrowd") is None for row in people))
        fill("no id: numbered", sum("id" not in row for row in people))


def _listed(ids: Sequence[ImageId]) -> str:
    return ", ".join(map(repr, ids[:3])) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")


def _box_fault(box: Any, width: float, height: float) -> str:
    if not _numbers(box, 4):
        return "its box is no list of four finite numbers"
    if not (box[2] > 0 and box[3] > 0):
        return "its box has no area"
    outside = box[0] + box[2] <= 0 or box[1] + box[3] <= 0 or box[0] >= width or box[1] >= height
    return "its box lies outside its image" if outside else ""


def _image_fault(entry: Any) -> str:
    if not isinstance(entry, Mapping):
        return "it is no object"
    if not is_id(entry.get("id")):
        return "it has no id"
    name = entry.get("file_name")
    if not isinstance(name, str) or leads_outside(name):
        return "its file_name is no path within the images' folder"
    sizes = [entry[side] for side in ("width", "height") if entry.get(side) is not None]
    if not all(isinstance(side, int) and not isinstance(side, bool) and 0 < side < 1 << 24 for side in sizes):
        return "its width or height is no positive whole number"
    return ""


def _numbers(values: Any, count: int) -> bool:
    """Whether `values` is a list of `count` finite numbers of plausible size for pixels."""
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) in (int, float) and -1e9 < value < 1e9 for value in values)  # NaN fails, too
    )


def _list(content: Mapping[str, Any], name: str) -> list[Any]:
    if not isinstance(content.get(name), list):
        raise ValueError(f"{name} is {'missing' if name not in content else 'no list'}, expected a list of objects")
    return content[name]


def _called(kind: str, number: int, entry: Any) -> str:
    return f"{kind} {entry['id']}" if isinstance(entry, Mapping) and is_id(entry.get("id")) else f"{kind} no. {number}"

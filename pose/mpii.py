"""Reader for MPII data folders in the format of HRNet's repository: a list of single people with 16 joints."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..parsing import naming, read_json
from .coco import Purpose, leads_outside
from .data import PoseData
from .reading import Reading
from .skeleton import MPII16

SCALE_PX = 200  # MPII: `scale` is the person's height divided by 200 px
CENTRE_SHIFT = 15  # px a unit of scale: HRNet moves MPII's centre down, so that the feet are in
LABEL_FILES = ("annotations.json", "annot/valid.json", "annot/train.json")
HEAD_SIZES = "headsize.json"


def find_mpii_labels(folder: Path, split: str | None = None, purpose: Purpose = "val") -> Path | None:
    """The label file of an MPII folder; None for another kind of folder."""
    wanted = "train" if (split or purpose).startswith("train") else "valid"
    names = sorted(LABEL_FILES, key=lambda name: Path(name).stem not in ("annotations", wanted))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def read_mpii(folder: Path, *, split: str | None = None, purpose: Purpose = "val") -> PoseData:
    """Read all people, with their position in the file as id; points become 0-based. Raises as `read_coco` does."""
    labels = find_mpii_labels(folder, split, purpose)
    if labels is None:
        raise FileNotFoundError(f"{folder} is not an MPII data folder: it has none of {', '.join(LABEL_FILES)}")
    reading = Reading(labels, f"split {labels.stem}" if labels.parent.name == "annot" else "")
    content = read_json(labels, nan=True)
    with naming(labels):
        data = _assemble(folder, labels, content, reading)
    reading.say()
    return data.with_pictures(np.zeros((len(data.images), 2), np.int64))  # MPII's labels do not give sizes


def _assemble(folder: Path, labels: Path, content: Any, reading: Reading) -> PoseData:
    if not isinstance(content, list):
        raise ValueError(f"it holds {type(content).__name__}, expected a list of people")
    faults = [_fault(person) for person in content]
    for number, fault in enumerate(faults):
        if fault:
            reading.leave_out(f"person {number}", fault)
    rows = [number for number, fault in enumerate(faults) if not fault]
    people = [content[number] for number in rows]
    reading.require("people", len(people))
    image_index = {name: index for index, name in enumerate(dict.fromkeys(person["image"] for person in people))}
    reading.used = {"images": len(image_index), "people": len(people)}
    count = len(people)
    joints = np.array([person["joints"] for person in people], np.float64).reshape(count, len(MPII16), 2)
    seen = np.array([person["joints_vis"] for person in people], np.float64).reshape(count, len(MPII16))
    scale = np.array([person["scale"] for person in people], np.float64)
    centre = np.array([person["center"] for person in people], np.float64).reshape(count, 2) - 1
    centre[:, 1] += CENTRE_SHIFT * scale
    half = SCALE_PX / 2 * scale[:, None]
    images = [person["image"] if not fault else "" for person, fault in zip(content, faults, strict=True)]
    heads = _head_sizes(folder / HEAD_SIZES, images)
    return PoseData(
        skeleton=MPII16,
        images=tuple(folder / "images" / name for name in image_index),
        image_ids=tuple(range(len(image_index))),
        image_of=np.array([image_index[person["image"]] for person in people], np.int64),
        person_ids=np.array(rows, object),
        boxes=np.concatenate((centre - half, centre + half), axis=1),
        keypoints=np.concatenate((joints - 1, np.where(seen > 0, 2.0, 0.0)[:, :, None]), axis=2),
        areas=(SCALE_PX * scale) ** 2,
        labels=labels,
        reading=reading,
        head_sizes=None if heads is None else heads[rows],
    )


def _head_sizes(path: Path, images: Sequence[str]) -> NDArray[np.float64] | None:
    """Head sizes of the label file's people, in its order; NaN for images that the file lacks.

    The file lists [{"image", "headsize"}, ...], with the people of an image in the label file's order. ValueError if an
    image has another number of entries than of people, since they cannot be matched.
    """
    if not path.is_file():
        return None
    found: dict[str, list[float]] = {}
    content = read_json(path, nan=True)
    with naming(path):
        for number, entry in enumerate(content if isinstance(content, list) else [None]):
            match entry:
                case {"image": str(name), "headsize": int(size) | float(size)} if 0 < size < 1e6:
                    found.setdefault(name, []).append(float(size))
                case _:
                    raise ValueError(f"entry {number} is {entry!r:.60}, expected a positive {{image, headsize}}")
        counts = {name: count for name, count in Counter(images).items() if name in found}
        wrong = [name for name, count in sorted(counts.items()) if len(found[name]) != count]
        if wrong:
            sizes, people = len(found[wrong[0]]), counts[wrong[0]]
            raise ValueError(f"{wrong[0]} has {sizes} head sizes for {people} people, expected one a person")
    given = {name: iter(sizes) for name, sizes in found.items()}
    return np.array([next(given[name]) if name in given else np.nan for name in images], np.float64)


def _fault(person: Any) -> str:
    """Why an entry is invalid; empty if it is valid."""
    if not isinstance(person, dict):
        return "it is no object"
    name = person.get("image")
    if not isinstance(name, str) or leads_outside(name):
        return "its image is no path within the images' folder"
    shapes = {"joints": (len(MPII16), 2), "joints_vis": (len(MPII16),), "center": (2,), "scale": ()}
    for key, shape in shapes.items():
        if key not in person:
            return f"it lacks {key!r}"
        try:
            values = np.array(person[key], np.float64)
        except (TypeError, ValueError, OverflowError):
            return f"its {key} are no numbers"
        if values.shape != shape or not np.isfinite(values).all() or (np.abs(values) > 1e9).any():
            return f"its {key} are not finite numbers of shape {shape}"
    return "" if person["scale"] > 0 else "its scale is not positive"

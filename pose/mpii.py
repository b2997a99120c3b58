"""People of a data folder in the MPII form that HRNet's repository uses: a list of single people, 16 joints."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..parsing import naming
from .data import PoseData
from .skeleton import MPII16

SCALE_PX = 200  # MPII: `scale` is the person's height divided by 200 px
CENTRE_SHIFT = 15  # px a unit of scale: HRNet moves MPII's centre down, so that the feet are in
LABEL_FILES = ("annotations.json", "annot/valid.json", "annot/train.json")
HEAD_SIZES = "headsize.json"


def find_mpii_labels(folder: Path) -> Path | None:
    """The label file of an MPII folder, or None where the folder is of another kind."""
    return next((folder / name for name in LABEL_FILES if (folder / name).is_file()), None)


def read_mpii(folder: Path) -> PoseData:
    """Everyone, numbered by place; points become 0-based. Raises as `read_coco` does."""
    labels = find_mpii_labels(folder)
    if labels is None:
        raise FileNotFoundError(f"{folder} is no MPII data folder: it has none of {', '.join(LABEL_FILES)}")
    with naming(labels):
        data = _assemble(folder, labels, json.loads(labels.read_text(encoding="utf-8")))
    return data.with_images()


def read_head_sizes(folder: Path, people: PoseData) -> NDArray[np.float64]:
    """(N,) head sizes in image px, which PCKh divides by, from the folder's headsize.json."""
    path = folder / HEAD_SIZES
    if not path.is_file():
        raise FileNotFoundError(f"no {path}: PCKh divides by each person's head size, [{{image, headsize}}, ...]")
    sizes = {entry["image"]: entry["headsize"] for entry in json.loads(path.read_text(encoding="utf-8"))}
    names = [people.images[index].name for index in people.image_of]
    unknown = next((name for name in names if name not in sizes), None)
    if unknown is not None:
        raise ValueError(f"{path} has no head size for {unknown}")
    return np.array([sizes[name] for name in names], dtype=np.float64)


def _assemble(folder: Path, labels: Path, people: Sequence[Mapping[str, Any]]) -> PoseData:
    place = {name: index for index, name in enumerate(dict.fromkeys(person["image"] for person in people))}
    count = len(people)
    joints = np.array([person["joints"] for person in people], dtype=np.float64).reshape(count, -1, 2)
    if joints.shape[1] != len(MPII16):
        raise ValueError(f"its people have {joints.shape[1]} joints, but {MPII16.name} has {len(MPII16)}")
    seen = np.array([person["joints_vis"] for person in people], dtype=np.float64).reshape(count, len(MPII16))
    keypoints = np.concatenate((joints - 1, 2 * seen[:, :, None]), axis=2)
    scale = np.array([person["scale"] for person in people], dtype=np.float64)
    centre = np.array([person["center"] for person in people], dtype=np.float64).reshape(count, 2) - 1
    centre[:, 1] += CENTRE_SHIFT * scale
    half = SCALE_PX / 2 * scale[:, None]
    boxes = np.concatenate((centre - half, centre + half), axis=1)
    for wrong in (~np.isfinite(keypoints).all((1, 2)), ~(np.isfinite(boxes).all(1) & (scale > 0))):
        if wrong.any():
            raise ValueError(f"person {int(wrong.argmax())}: joints, center or scale are not finite or not positive")
    return PoseData(
        skeleton=MPII16,
        images=tuple(folder / "images" / name for name in place),
        image_ids=np.arange(len(place)),
        image_of=np.array([place[person["image"]] for person in people], dtype=np.int64),
        person_ids=np.arange(count),
        boxes=boxes,
        keypoints=keypoints,
        areas=(SCALE_PX * scale) ** 2,
        labels=labels,
    )

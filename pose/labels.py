"""Reader for any supported data folder: COCO or MPII."""

from pathlib import Path

from .coco import Purpose, read_coco
from .data import PoseData
from .mpii import find_mpii_labels, read_mpii
from .spec import PoseSpec


def read_people(folder: Path, spec: PoseSpec, *, split: str | None = None, purpose: Purpose = "val") -> PoseData:
    """Read the people of a COCO or MPII folder; raises as `read_coco`, and ValueError unless its joints fit `spec`."""
    if find_mpii_labels(folder) is not None:
        people = read_mpii(folder, split=split, purpose=purpose)
    else:
        people = read_coco(folder, spec.skeleton, split=split, purpose=purpose)
    if people.skeleton != spec.skeleton:
        raise ValueError(f"{folder} has {people.skeleton.name}'s joints, but the network {spec.skeleton.name}'s")
    return people

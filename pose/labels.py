"""Reader for any supported data folder: COCO or MPII."""

from pathlib import Path

from .coco import Purpose, read_coco
from .data import PoseData
from .mpii import find_mpii_labels, read_mpii
from .skeleton import numbered_skeleton
from .spec import PoseSpec


def read_people(
    folder: Path,
    spec: PoseSpec,
    *,
    split: str | None = None,
    purpose: Purpose = "val",
    own_skeleton: bool = False,
) -> PoseData:
    """Read the people of a COCO or MPII folder; raises as `read_coco`, and ValueError unless its joints fit `spec`.

    With `own_skeleton`, or where nobody named the joints of `spec`, the skeleton is the folder's.
    """
    unnamed = spec.skeleton == numbered_skeleton(len(spec.skeleton))
    if find_mpii_labels(folder) is not None:
        people = read_mpii(folder, split=split, purpose=purpose)
    else:
        people = read_coco(folder, spec.skeleton, split=split, purpose=purpose, own_skeleton=own_skeleton or unnamed)
    found, wanted = people.skeleton, spec.skeleton
    if unnamed and len(found) != len(wanted):
        raise ValueError(f"{folder} has {len(found)} joints ({found.name}), but the network {len(wanted)}")
    if not (own_skeleton or unnamed) and found != wanted:
        raise ValueError(f"{folder} has {found.name}'s joints, but the network {wanted.name}'s")
    return people

"""The joints of a body, in the order of a network's heatmaps."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Skeleton:
    """Names, symmetry and tolerances of K joints."""

    name: str
    joints: tuple[str, ...]
    sigmas: tuple[float, ...]
    """OKS tolerance of each joint, as a share of the square root of the person's area."""
    flip_pairs: tuple[tuple[int, int], ...]
    """(left, right) joints that change places in a mirror."""
    limbs: tuple[tuple[int, int], ...]
    """Joints that a line connects in a drawing."""
    upper_body: tuple[int, ...]
    """Joints above the hips: half-body augmentation keeps these or the others."""

    def __post_init__(self) -> None:
        if len(self.sigmas) != len(self.joints):
            raise ValueError(f"{len(self.sigmas)} sigmas for {len(self.joints)} joints")
        if not self.joints or len(set(self.joints)) < len(self.joints):
            raise ValueError(f"joints are {self.joints}, expected names, each once")
        if not all(math.isfinite(sigma) and sigma > 0 for sigma in self.sigmas):
            raise ValueError(f"sigmas are {self.sigmas}, expected positive numbers")
        paired = [joint for pair in self.flip_pairs for joint in pair]
        if len(set(paired)) < len(paired):
            raise ValueError(f"flip_pairs {self.flip_pairs} name a joint twice")
        for name, places in (("flip_pairs", paired), ("limbs", sum(self.limbs, ())), ("upper_body", self.upper_body)):
            wrong = [index for index in places if not 0 <= index < len(self.joints)]
            if wrong:
                raise ValueError(f"{name} name joint {wrong[0]}, but there are {len(self.joints)}, counted from 0")

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def mirror(self) -> tuple[int, ...]:
        """For each joint, the joint that it becomes in a mirror."""
        order = list(range(len(self)))
        for left, right in self.flip_pairs:
            order[left], order[right] = right, left
        return tuple(order)


def _names(names: str) -> tuple[str, ...]:
    return tuple(names.split())


COCO17 = Skeleton(
    name="coco17",
    joints=_names(
        "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow "
        "left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
    ),
    # cocodataset.org, keypoint evaluation: k_i / 2
    sigmas=(
        *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
        *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
    ),
    flip_pairs=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
    limbs=(
        *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8)),
        *((7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
    ),
    upper_body=tuple(range(11)),
)

MPII16 = Skeleton(
    name="mpii16",
    joints=_names(
        "right_ankle right_knee right_hip left_hip left_knee left_ankle pelvis thorax upper_neck head_top "
        "right_wrist right_elbow right_shoulder left_shoulder left_elbow left_wrist"
    ),
    # MPII defines none (it scores by PCKh): COCO's for the joints that both have, mmpose's for the trunk's.
    sigmas=(
        *(0.089, 0.087, 0.107, 0.107, 0.087, 0.089, 0.026, 0.026),
        *(0.026, 0.026, 0.062, 0.072, 0.079, 0.079, 0.072, 0.062),
    ),
    flip_pairs=((3, 2), (4, 1), (5, 0), (15, 10), (14, 11), (13, 12)),
    limbs=(
        *((0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8)),
        *((8, 9), (7, 12), (12, 11), (11, 10), (7, 13), (13, 14), (14, 15)),
    ),
    upper_body=(7, 8, 9, 10, 11, 12, 13, 14, 15),
)

SKELETONS: dict[str, Skeleton] = {skeleton.name: skeleton for skeleton in (COCO17, MPII16)}


def skeleton_named(name: str) -> Skeleton:
    """A skeleton by its name."""
    if name not in SKELETONS:
        raise ValueError(f"no skeleton is called {name!r}; there are {', '.join(SKELETONS)}")
    return SKELETONS[name]

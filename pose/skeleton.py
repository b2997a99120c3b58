"""The joints of a body, in the order of a network's heatmaps."""

import math
from dataclasses import dataclass

from ..parsing import printable
from .sides import Side

MOST_JOINTS, MOST_LIMBS, LONGEST_NAME = 1024, 4096, 255
"""What the C++ library takes; a name's length in bytes."""
SIGMAS = (1e-6, 10.0)
"""Smallest and largest tolerance."""


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
        _check_names(self.name, self.joints)
        if len(self.sigmas) != len(self.joints):
            raise ValueError(f"{len(self.sigmas)} sigmas for {len(self.joints)} joints")
        if not all(math.isfinite(sigma) and SIGMAS[0] <= sigma <= SIGMAS[1] for sigma in self.sigmas):
            raise ValueError(f"sigmas are {self.sigmas}, expected positive numbers up to {SIGMAS[1]:g}")
        if len(self.limbs) > MOST_LIMBS:
            raise ValueError(f"there are {len(self.limbs)} limbs, expected at most {MOST_LIMBS}")
        paired = [joint for pair in self.flip_pairs for joint in pair]
        for name, places in (("flip_pairs", paired), ("limbs", sum(self.limbs, ())), ("upper_body", self.upper_body)):
            wrong = [index for index in places if not 0 <= index < len(self.joints)]
            if wrong:
                raise ValueError(f"{name} name joint {wrong[0]}, but there are {len(self.joints)}, counted from 0")
        for name, pairs in (("flip_pairs", self.flip_pairs), ("limbs", self.limbs)):
            same = [self.joints[one] for one, other in pairs if one == other]
            if same:
                raise ValueError(f"{name} connect {same[0]!r} with itself, expected two different joints")
        self._check_partners()

    def _check_partners(self) -> None:
        """Raise ValueError where a joint has two partners in a mirror, as in a cycle of pairs."""
        partner: dict[int, int] = {}
        for pair in self.flip_pairs:
            for joint, other in (pair, pair[::-1]):
                if joint in partner:
                    named = (self.joints[each] for each in (joint, partner[joint], other))
                    raise ValueError(
                        "flip_pairs name {!r} twice, with {!r} and with {!r}: "
                        "a joint has one partner in a mirror".format(*named)
                    )
                partner[joint] = other

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def mirror(self) -> tuple[int, ...]:
        """For each joint, the joint that it becomes in a mirror."""
        order = list(range(len(self)))
        for left, right in self.flip_pairs:
            order[left], order[right] = right, left
        return tuple(order)

    def side(self, joint: int) -> Side | None:
        """The side of the body that a joint is on, by its pair; None for one without a partner."""
        sides: tuple[Side, Side] = ("left", "right")
        return next((sides[pair.index(joint)] for pair in self.flip_pairs if joint in pair), None)

    @property
    def has_one_sigma(self) -> bool:
        """Whether nobody gave sigmas, so that one value serves every joint."""
        return set(self.sigmas) == {ONE_SIGMA}

    @property
    def oks_note(self) -> str:
        """What stands beside an OKS or AP of this skeleton; empty where it has sigmas of its own."""
        if not self.has_one_sigma:
            return ""
        return f"no sigmas were given for {self.name}: OKS and AP take {ONE_SIGMA} for every joint"


def _check_names(skeleton: str, joints: tuple[str, ...]) -> None:
    """Raise ValueError unless the skeleton and its joints have names that fit a manifest, each joint its own."""
    if not joints:
        raise ValueError("there are 0 joints, expected at least 1")
    if len(joints) > MOST_JOINTS:
        raise ValueError(f"there are {len(joints)} joints, expected at most {MOST_JOINTS}")
    for name in (skeleton, *joints):
        if not 1 <= len(name.encode()) <= LONGEST_NAME or printable(name) != name or "\n" in name or "\t" in name:
            raise ValueError(f"a name is {name[:60]!r}, expected 1 to {LONGEST_NAME} bytes without control characters")
    repeated = next((name for place, name in enumerate(joints) if name in joints[:place]), None)
    if repeated is not None:
        raise ValueError(f"two joints are called {repeated!r}, expected names, each once")


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

ONE_SIGMA = 0.067
"""Of every joint of a skeleton without sigmas: the mean of COCO's seventeen."""


def numbered_skeleton(joints: int) -> Skeleton:
    """A skeleton of joints that nobody named: "joint 0", "joint 1", ..., without limbs and pairs."""
    names = tuple(f"joint {number}" for number in range(joints))
    return Skeleton(f"{joints} joints", names, (ONE_SIGMA,) * joints, (), (), ())


SKELETONS: dict[str, Skeleton] = {skeleton.name: skeleton for skeleton in (COCO17, MPII16)}


def skeleton_named(name: str) -> Skeleton:
    """A skeleton by its name."""
    if name not in SKELETONS:
        raise ValueError(f"no skeleton is called {name!r}; there are {', '.join(SKELETONS)}")
    return SKELETONS[name]

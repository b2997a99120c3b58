"""What joints' names say, on the sets that are in use."""

import pytest

from lehrnet.pose.sides import mirror_pairs, side_and_stem, upper_half, usual_limbs, without_partner
from lehrnet.pose.skeleton import COCO17, MPII16, SKELETONS, Skeleton

every_skeleton = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("left_shoulder", ("left", "shoulder")),
        ("Left Shoulder", ("left", "shoulder")),
        ("rightEar", ("right", "ear")),
        ("R_F_Paw", ("right", "f_paw")),
        ("L_EarBase", ("left", "ear_base")),
        ("ear.l", ("left", "ear")),
        ("ANKLE_R", ("right", "ankle")),
        ("nose", (None, "nose")),
        ("lip", (None, "lip")),
        ("l", (None, "l")),
        ("thumb4", (None, "thumb_4")),
    ],
)
def test_a_name_says_its_side_however_it_is_written(name: str, found: tuple[str | None, str]) -> None:
    assert side_and_stem(name) == found


@every_skeleton
def test_pairs_by_name_are_those_that_we_wrote_down(skeleton: Skeleton) -> None:
    assert set(mirror_pairs(skeleton.joints)) == set(skeleton.flip_pairs)


@every_skeleton
def test_the_upper_half_by_name_is_that_which_we_wrote_down(skeleton: Skeleton) -> None:
    assert upper_half(skeleton.joints) == skeleton.upper_body


def test_usual_limbs_are_among_coco_s() -> None:
    found, drawn = ({frozenset(limb) for limb in limbs} for limbs in (usual_limbs(COCO17.joints), COCO17.limbs))
    assert found <= drawn
    assert len(found) == len(drawn) - 3  # COCO's own: between the eyes, and from ears to shoulders


def test_what_is_no_body_has_neither_halves_nor_usual_limbs() -> None:
    hand = ("wrist", "thumb_tip", "index_tip")
    assert (mirror_pairs(hand), upper_half(hand), usual_limbs(hand)) == ((), (), ())


def test_a_joint_without_its_partner_is_named() -> None:
    names = (*MPII16.joints, "left_toe")
    assert without_partner(names, mirror_pairs(names)) == ["left_toe"]

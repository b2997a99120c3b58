import pytest

from lehrnet.pose.skeleton import SKELETONS, Skeleton, skeleton_named

every_skeleton = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)


@every_skeleton
def test_a_mirror_swaps_left_and_right_and_nothing_else(skeleton: Skeleton) -> None:
    for joint, mirrored in zip(skeleton.joints, (skeleton.joints[i] for i in skeleton.mirror), strict=True):
        swapped = {"left": joint.replace("left", "right"), "right": joint.replace("right", "left")}
        assert mirrored == swapped.get(joint.partition("_")[0], joint)


@every_skeleton
def test_limbs_and_upper_body_name_joints_that_exist(skeleton: Skeleton) -> None:
    assert {joint for limb in skeleton.limbs for joint in limb} <= set(range(len(skeleton)))
    assert not any(part in skeleton.joints[joint] for joint in skeleton.upper_body for part in ("knee", "ankle", "hip"))


def test_the_two_skeletons_have_cocos_and_mpiis_joints() -> None:
    """In the order of COCO's person_keypoints files and of MPII's annopoints, on which weights and labels rest."""

    def pairs(*names: str) -> list[str]:
        return [f"{side}_{name}" for name in names for side in ("left", "right")]

    limbs = ["ankle", "knee", "hip"], ["wrist", "elbow", "shoulder"]
    mpii = [[*(f"right_{name}" for name in limb), *(f"left_{name}" for name in limb[::-1])] for limb in limbs]
    assert {name: list(skeleton.joints) for name, skeleton in SKELETONS.items()} == {
        "coco17": ["nose", *pairs("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")],
        "mpii16": [*mpii[0], "pelvis", "thorax", "upper_neck", "head_top", *mpii[1]],
    }


def test_an_unknown_skeleton_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'body25'.*coco17, mpii16"):
        skeleton_named("body25")

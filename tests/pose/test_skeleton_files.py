"""Skeletons that users bring, in label files and in files of their own."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from lehrnet.pose.skeleton import COCO17, ONE_SIGMA, Skeleton
from lehrnet.pose.skeleton_files import described, read_skeleton, skeleton_of

SKELETONS = Path(__file__).resolve().parents[3] / "shared" / "data" / "skeletons"
DOG: dict[str, Any] = {"name": "dog", "joints": ["snout", "L_Paw", "R_Paw"], "limbs": [["snout", "L_Paw"], [0, 2]]}


def label_file(name: str) -> dict[str, Any]:
    path = SKELETONS / name / "person_keypoints.json"
    if not path.is_file():
        pytest.skip("the label files of ../shared/data/skeletons are not on this machine")
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    ("name", "joints", "pairs", "limbs", "upper"),
    [("aic", 14, 6, 14, 8), ("crowdpose", 14, 6, 15, 8), ("onehand10k", 21, 0, 20, 0), ("animalpose", 20, 8, 20, 0)],
)
def test_the_sets_of_others_are_read(name: str, joints: int, pairs: int, limbs: int, upper: int) -> None:
    skeleton = skeleton_of(label_file(name))
    assert skeleton is not None
    assert (len(skeleton), len(skeleton.flip_pairs), len(skeleton.limbs)) == (joints, pairs, limbs)
    assert (len(skeleton.upper_body), skeleton.has_one_sigma) == (upper, True)


def test_limbs_of_a_label_file_count_from_1() -> None:
    skeleton = skeleton_of(label_file("aic"))
    assert skeleton is not None
    assert [skeleton.joints[joint] for joint in skeleton.limbs[0]] == ["Right Wrist", "Right Elbow"]


def test_limbs_that_are_of_other_joints_are_left_out_and_said(caplog) -> None:
    skeleton = skeleton_of(label_file("crowdpose"))
    assert "no limbs are taken from the label file, but a body's usual ones: its skeleton names joint 16" in caplog.text
    assert skeleton is not None
    named = {tuple(skeleton.joints[joint] for joint in limb) for limb in skeleton.limbs}
    assert {("left_knee", "left_hip"), ("neck", "head"), ("left_shoulder", "right_shoulder")} <= named
    assert ("right_ankle", "head") not in named  # as the file has it


def test_a_file_says_what_names_do_not(tmp_path: Path) -> None:
    own = {"flip_pairs": [["R_Paw", "L_Paw"]], "sigmas": [0.1, 0.2, 0.2], "upper_body": ["snout"]}
    (tmp_path / "dog.json").write_text(json.dumps({**DOG, **own}))
    wanted = Skeleton("dog", tuple(DOG["joints"]), (0.1, 0.2, 0.2), ((1, 2),), ((0, 1), (0, 2)), (0,))
    assert read_skeleton(tmp_path / "dog.json") == wanted
    assert (wanted.side(1), wanted.side(2), wanted.side(0)) == ("left", "right", None)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 reads no TOML")
def test_toml_says_the_same_as_json(tmp_path: Path) -> None:
    (tmp_path / "dog.json").write_text(json.dumps(DOG))
    (tmp_path / "dog.toml").write_text(
        'name = "dog"\njoints = ["snout", "L_Paw", "R_Paw"]\nlimbs = [["snout", "L_Paw"], [0, 2]]\n'
    )
    assert read_skeleton(tmp_path / "dog.toml") == read_skeleton(tmp_path / "dog.json")
    assert read_skeleton(tmp_path / "dog.json").flip_pairs == ((1, 2),)


def test_a_label_file_is_a_skeleton_file(data_folder: Path) -> None:
    assert read_skeleton(data_folder / "person_keypoints.json") == COCO17


def test_coco_s_joints_with_sigmas_of_one_s_own_are_another_skeleton() -> None:
    category = {"name": "person", "keypoints": list(COCO17.joints), "sigmas": [0.05] * 17}
    found = skeleton_of({"categories": [category]})
    assert found is not None
    assert (found.name, found.sigmas, found.flip_pairs) == ("person17", (0.05,) * 17, COCO17.flip_pairs)


def test_without_sigmas_one_value_serves_all_and_is_said() -> None:
    found = described(DOG)
    assert found.sigmas == (ONE_SIGMA,) * 3
    assert found.oks_note == f"no sigmas were given for dog: OKS and AP take {ONE_SIGMA} for every joint"
    assert not COCO17.oks_note


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": []}, "there are 0 joints, expected at least 1"),
        ({"joints": ["a", "b", "a"]}, "two joints are called 'a', expected names, each once"),
        ({"joints": ["a", ""]}, "a name is '', expected 1 to 255 bytes"),
        ({"joints": "abc"}, "joints is 'abc', expected a list"),
        ({"limbs": [[0, 7]]}, "limbs names joint 7, but the 3 joints are snout, L_Paw, R_Paw, counted from 0"),
        ({"limbs": [["snout", "tail"]]}, "limbs names joint 'tail'"),
        ({"limbs": [[0, 0]]}, "limbs connect 'snout' with itself"),
        ({"limbs": [[0, 1, 2]]}, r"limbs holds \[0, 1, 2\], expected pairs of two joints"),
        ({"skeleton": [[0, 1]]}, "skeleton names joint 0, but the 3 joints are snout, L_Paw, R_Paw, counted from 1"),
        ({"flip_pairs": [["L_Paw"]]}, "expected pairs of two joints"),
        ({"flip_pairs": [["L_Paw", "L_Paw"]]}, "flip_pairs connect 'L_Paw' with itself"),
        ({"flip_pairs": [[0, 1], [1, 2], [2, 0]]}, "flip_pairs name 'L_Paw' twice, with 'snout' and with 'R_Paw'"),
        ({"flip_pairs": 3}, "flip_pairs is 3, expected a list of pairs of joints"),
        ({"upper_body": ["tail"]}, "upper_body names joint 'tail'"),
        ({"sigmas": [0.1]}, "1 sigmas for 3 joints"),
        ({"sigmas": [0.1, 0, 0.1]}, "expected positive numbers"),
        ({"name": "coco17"}, "is not lehrnet's of that name"),
    ],
)
def test_a_skeleton_that_cannot_be_is_refused_in_one_sentence(tmp_path: Path, change, message: str) -> None:
    from lehrnet.pose.spec import PoseSpec

    path = tmp_path / "dog.json"
    path.write_text(json.dumps({**DOG, **change}))
    with pytest.raises(ValueError, match=message):
        PoseSpec(skeleton=read_skeleton(path))


def test_files_that_hold_no_skeleton_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    for content, message in (("[]", "holds list"), ("{}", "it has no joints"), ('{"categories": []}', "no skeleton")):
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            read_skeleton(path)
    with pytest.raises(FileNotFoundError, match="no skeleton file at"):
        read_skeleton(tmp_path / "none.json")


def test_categories_of_several_sets_of_joints_are_refused() -> None:
    content = {"categories": [{"name": "cat", "keypoints": ["a"]}, {"name": "fly", "keypoints": ["b"]}]}
    with pytest.raises(ValueError, match='its categories "cat" and "fly" have other joints'):
        skeleton_of(content)
    with pytest.raises(ValueError, match="0 joints"):
        skeleton_of({"categories": [{"name": "cat", "keypoints": []}]})
    assert skeleton_of({}) is None

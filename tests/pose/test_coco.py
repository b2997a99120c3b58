import json
from pathlib import Path

import numpy as np
import pytest

from lehrnet.pose.coco import find_labels, read_coco
from lehrnet.pose.skeleton import MPII16


def test_everyone_is_read_and_those_with_keypoints_can_be_chosen(data_folder: Path) -> None:
    people = read_coco(data_folder)
    assert (len(people), people.person_ids.tolist(), people.image_of.tolist()) == (3, [1, 2, 3], [0, 1, 1])
    np.testing.assert_array_equal(people.boxes, [[10, 20, 40, 70]] * 3)
    assert people.with_keypoints().person_ids.tolist() == [1, 2]


def test_people_come_image_by_image(data_folder: Path) -> None:
    people = read_coco(data_folder).take(np.array([False, True, True]))
    assert [(path.name, rows.tolist()) for path, rows in people.by_image()] == [("000000000002.jpg", [0, 1])]
    assert list(people.take(np.zeros(2, bool)).by_image()) == []


def test_cocos_own_layout_is_found(data_folder: Path) -> None:
    (data_folder / "annotations").mkdir()
    (data_folder / "person_keypoints.json").rename(data_folder / "annotations" / "person_keypoints_val2017.json")
    (data_folder / "images").rename(data_folder / "val2017")
    assert find_labels(data_folder)[1].name == "val2017"
    assert len(read_coco(data_folder)) == 3


def test_a_folder_of_another_kind_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="neither person_keypoints.json"):
        find_labels(tmp_path)


def test_an_image_that_is_missing_is_named(data_folder: Path) -> None:
    (data_folder / "images" / "000000000002.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of its images are missing, the first is .*000000000002\.jpg"):
        read_coco(data_folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c["annotations"][1]["keypoints"].__setitem__(3, float("nan")),
            "annotation 2 has keypoints that",
        ),
        (
            lambda c: c["annotations"][0].update(bbox=[200, 10, 20, 20]),
            "annotation 1: its box .* lies outside",
        ),
        (lambda c: c["annotations"][0].update(bbox=[10, 10, 0, 20]), "annotation 1: its box .* has no area"),
        (lambda c: c["annotations"][0].update(keypoints=[1, 1, 2] * 16), "annotation 1 has 16 joints, coco17 has 17"),
        (lambda c: c["annotations"][2].update(id=1), "annotation id 1 occurs more than once"),
        (lambda c: c["images"][1].update(id=1), "image id 1 occurs more than once"),
        (lambda c: c["annotations"][2].update(image_id=9), "annotation 3 is on an image that the file does not list"),
        (lambda c: c["categories"][0].update(keypoints=[]), "no category has keypoints"),
        (
            lambda c: c["categories"][0].update(keypoints=["nose"]),
            r"its categories have \[1\] joints, but coco17",
        ),
        (lambda c: c.pop("annotations"), "an entry lacks 'annotations'"),
    ],
)
def test_wrong_labels_are_refused_with_file_and_id(data_folder: Path, change, message: str) -> None:
    labels = data_folder / "person_keypoints.json"
    content = json.loads(labels.read_text())
    change(content)
    labels.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"person_keypoints.json: {message}"):
        read_coco(data_folder)


def test_a_cut_label_file_is_refused(data_folder: Path) -> None:
    (data_folder / "person_keypoints.json").write_text('{"images": []')
    with pytest.raises(ValueError, match=r"person_keypoints\.json: Expecting"):
        read_coco(data_folder)


def test_a_skeleton_that_does_not_match_is_refused(data_folder: Path) -> None:
    with pytest.raises(ValueError, match="mpii16 has 16"):
        read_coco(data_folder, MPII16)


def test_the_sample_has_225_people_with_keypoints_on_81_photographs(pose_samples: Path) -> None:
    people = read_coco(pose_samples)
    assert (len(people), len(people.images), len(people.with_keypoints())) == (350, 81, 225)

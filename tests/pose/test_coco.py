from pathlib import Path

import numpy as np
import pytest

from lehrnet.pose.coco import find_labels, read_people


def test_people_with_keypoints_are_read_by_image(data_folder: Path) -> None:
    people = read_people(data_folder)
    assert [person.image.name for person in people] == ["000000000001.jpg", "000000000002.jpg"]
    np.testing.assert_array_equal(people[1].boxes, [[10, 20, 40, 70]])
    assert people[1].keypoints.shape == (1, 17, 3)


def test_cocos_own_layout_is_found(data_folder: Path) -> None:
    (data_folder / "annotations").mkdir()
    (data_folder / "person_keypoints.json").rename(data_folder / "annotations" / "person_keypoints_val2017.json")
    (data_folder / "images").rename(data_folder / "val2017")
    assert find_labels(data_folder)[1].name == "val2017"
    assert len(read_people(data_folder)) == 2


def test_a_folder_of_another_kind_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="neither person_keypoints.json"):
        find_labels(tmp_path)


def test_damaged_labels_are_refused_with_their_file(data_folder: Path) -> None:
    (data_folder / "person_keypoints.json").write_text('{"images": []')
    with pytest.raises(ValueError, match=r"person_keypoints\.json cannot be read"):
        read_people(data_folder)


def test_the_sample_has_225_people_with_keypoints_on_81_photographs(pose_samples: Path) -> None:
    people = read_people(pose_samples)
    assert sum(len(image.boxes) for image in people) == 225

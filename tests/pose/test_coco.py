import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The folder with other labels."""
    labels = folder / "person_keypoints.json"
    content = json.loads(labels.read_text())
    change(content)
    labels.write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][2].update(id=1), "annotation id 1 occurs more than once"),
        (lambda c: c["images"][1].update(id=1), "image id 1 occurs more than once, for different files"),
        (
            lambda c: c["categories"][0].update(keypoints=[], name="dog"),
            "no category has keypoints or is called person",
        ),
        (lambda c: c["categories"][0].update(keypoints=["nose"]), r"its categories have \[1\] joints, but coco17"),
        (
            lambda c: c["categories"][0]["keypoints"].reverse(),
            "its joints come in another order than coco17's",
        ),
        (lambda c: c.update(categories="person"), "categories is no list of objects"),
        (lambda c: c.update(categories=[1]), "categories is no list of objects"),
        (lambda c: c["categories"][0].update(id=None), "the id of its person category is None"),
        (lambda c: c.pop("annotations"), "annotations is missing, expected a list of objects"),
        (lambda c: c.update(annotations={"id": 1}), "annotations is no list, expected a list of objects"),
        (lambda c: c.update(images=3), "images is no list, expected a list of objects"),
        (
            lambda c: [e.update(bbox=[0, 0, 9, 0]) for e in c["annotations"]],
            "none of its annotations can be used: 3",
        ),
        (lambda c: [e.pop("id") for e in c["images"]], "none of its images can be used: 2, because it has no id"),
    ],
)
def test_contradictions_and_files_of_which_nothing_is_left_are_refused(data_folder: Path, change, message: str) -> None:
    with pytest.raises(ValueError, match=f"person_keypoints.json: {message}"):
        read_coco(changed(data_folder, change))


LEFT_OUT = {
    "its box has no area": [{"bbox": [9.98, 18.56, 5.54, 0.0]}, {"bbox": [9, 9, -1, 4]}],
    "its box lies outside its image": [{"bbox": [200, 10, 20, 20]}, {"bbox": [-50, 10, 20, 20]}],
    "its box is no list of four finite numbers": [
        *({"bbox": [1, 2, 3]}, {"bbox": None}, {"bbox": "1 2 3 4"}, {"bbox": [1, 2, math.nan, 4]}),
        *({"bbox": [1, 2, math.inf, 4]}, {"bbox": [1, 2, True, 4]}, {"bbox": [1, 2, 10**400, 4]}),
    ],
    "it has 16 joints, coco17 has 17": [{"keypoints": [1, 1, 2] * 16}],
    "it has no list of joints, coco17 has 17": [{"keypoints": "none"}],
    "its keypoints are not finite numbers": [{"keypoints": [math.nan, 1, 2] * 17}, {"keypoints": ["1", 1, 2] * 17}],
    "a joint's visibility is neither 0, 1 nor 2": [{"keypoints": [1, 1, 3] * 17}, {"keypoints": [1, 1, -1] * 17}],
    "it is on an image that the file does not list": [{"image_id": 9}, {"image_id": None}, {"image_id": [1]}],
    "its area is no positive number": [{"area": -1}, {"area": math.nan}, {"area": 0}, {"area": "large"}],
    "its iscrowd is neither 0 nor 1": [{"iscrowd": 2}, {"iscrowd": "no"}, {"iscrowd": []}],
    "its id is no number or text": [{"id": None}, {"id": 1.5}, {"id": [1]}],
}


@pytest.mark.parametrize(
    ("reason", "facts"),
    [(reason, facts) for reason, each in LEFT_OUT.items() for facts in each],
    ids=[f"{reason} {place}" for reason, each in LEFT_OUT.items() for place in range(len(each))],
)
def test_a_bad_row_is_left_out_and_counted(data_folder: Path, reason: str, facts, caplog) -> None:
    people = read_coco(changed(data_folder, lambda c: c["annotations"][1].update(facts)))
    assert people.person_ids.tolist() == [1, 3]
    assert people.reading.facts()["left_out"][reason]["count"] == 1
    assert f"left out: 1, because {reason}" in caplog.text


@pytest.mark.parametrize("row", [3, None, "person", []])
def test_a_row_that_is_no_object_is_left_out(data_folder: Path, row: object) -> None:
    people = read_coco(changed(data_folder, lambda c: c["annotations"].append(row)))
    assert len(people) == 3
    assert people.reading.facts()["left_out"]["it is no object"] == {"count": 1, "first": ["annotation number 3"]}


@pytest.mark.parametrize(
    "name", ["../images/x.jpg", "/etc/x.jpg", "a/../../x.jpg", "C:\\x.jpg", "..\\x.jpg", "", "a\0.jpg", 3]
)
def test_a_name_that_leads_out_of_the_folder_is_never_opened(data_folder: Path, name: object) -> None:
    people = read_coco(changed(data_folder, lambda c: c["images"][1].update(file_name=name)))
    assert people.person_ids.tolist() == [1]
    assert "its file_name is no path within the images' folder" in people.reading.left_out


class TestDefaults:
    @pytest.mark.parametrize("key", ["area", "iscrowd", "num_keypoints", "id"])
    def test_what_is_optional_may_be_absent(self, data_folder: Path, key: str) -> None:
        people = read_coco(changed(data_folder, lambda c: [entry.pop(key) for entry in c["annotations"]]))
        assert len(people) == 3
        expected = [0.53 * 30 * 50] * 3 if key == "area" else [1500] * 3
        assert people.areas.tolist() == pytest.approx(expected)

    def test_they_are_said_once(self, data_folder: Path, caplog) -> None:
        read_coco(changed(data_folder, lambda c: [entry.pop("area") for entry in c["annotations"]]))
        assert caplog.text.count("filled in: no area: 0.53 of the box, for 3") == 1

    def test_a_plain_file_is_read_without_a_word(self, data_folder: Path, caplog) -> None:
        read_coco(data_folder)
        assert not caplog.text


class TestIdentity:
    def test_ids_may_be_texts_or_large(self, data_folder: Path) -> None:
        def change(content: dict[str, Any]) -> None:
            for entry in content["images"]:
                entry["id"] = f"{entry['id']:06d}"
            for entry in content["annotations"]:
                entry.update(image_id=f"{entry['image_id']:06d}", id=2**70 + entry["id"])

        people = read_coco(changed(data_folder, change))
        assert people.image_ids == ("000001", "000002")
        assert people.person_ids.tolist() == [2**70 + 1, 2**70 + 2, 2**70 + 3]

    @pytest.mark.parametrize("category", [0, 18, 44, "p"])
    def test_the_category_is_the_one_with_the_joints(self, data_folder: Path, category: object) -> None:
        def change(content: dict[str, Any]) -> None:
            content["categories"] = [{"id": 1, "name": "bicycle"}, {**content["categories"][0], "id": category}]
            for entry in content["annotations"]:
                entry["category_id"] = category
            content["annotations"].append({"id": 9, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9]})

        people = read_coco(changed(data_folder, change))
        assert (len(people), people.category) == (3, category)

    def test_species_with_the_same_joints_are_read_as_one_kind(self, data_folder: Path, caplog) -> None:
        def change(content: dict[str, Any]) -> None:
            (person,) = content["categories"]
            content["categories"] = [{**person, "id": at, "name": name} for at, name in ((4, "cat"), (7, "dog"))]
            for entry, kind in zip(content["annotations"], (4, 7, 9), strict=True):
                entry["category_id"] = kind

        people = read_coco(changed(data_folder, change))
        assert (len(people), people.category) == (2, 4)
        assert "2 categories share these joints" in caplog.text

    def test_a_crowd_is_no_person_and_is_kept_for_the_figures(self, data_folder: Path) -> None:
        crowd = {"id": 9, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1, "area": 5}
        crowd["segmentation"] = {"counts": [1, 2], "size": [90, 80]}
        people = read_coco(changed(data_folder, lambda c: c["annotations"].append(crowd)))
        assert (len(people), people.crowds is not None and len(people.crowds)) == (3, 1)

    def test_a_box_past_the_edge_and_hidden_joints_stay(self, data_folder: Path) -> None:
        facts = {"bbox": [-5, -5, 200, 200], "keypoints": [20, 40, 1] * 17}
        people = read_coco(changed(data_folder, lambda c: c["annotations"][0].update(facts)))
        assert people.boxes[0].tolist() == [-5, -5, 195, 195]
        assert len(people.with_keypoints()) == 2


class TestSizes:
    def test_pictures_of_another_size_are_refused_with_the_first_three(self, data_folder: Path) -> None:
        folder = changed(data_folder, lambda c: [entry.update(width=800, height=900) for entry in c["images"]])
        with pytest.raises(ValueError, match=r"2 of its images have other sizes .*1.jpg is 80 x 90, the labels say"):
            read_coco(folder)

    def test_labels_without_sizes_are_taken(self, data_folder: Path) -> None:
        folder = changed(data_folder, lambda c: [entry.pop("width") for entry in c["images"]])
        assert len(read_coco(folder)) == 3

    @pytest.mark.parametrize("as_shown", [False, True])
    def test_exif_is_followed_where_the_labels_follow_it(self, data_folder: Path, as_shown: bool) -> None:
        path = data_folder / "images" / "000000000001.jpg"
        entries = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHHI", 0x112, 3, 1, 6, 0, 0)
        header = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(entries) + 2) + entries
        path.write_bytes(header + path.read_bytes()[2:])
        if as_shown:
            changed(data_folder, lambda c: c["images"][0].update(width=90, height=80))
        people = read_coco(data_folder)
        assert people.picture(0).shape == ((80, 90, 3) if as_shown else (90, 80, 3))


class TestSplits:
    @pytest.fixture
    def both(self, data_folder: Path) -> Path:
        """COCO's own layout: image 1 in train2017, image 2 in val2017."""
        content = json.loads((data_folder / "person_keypoints.json").read_text())
        (data_folder / "annotations").mkdir()
        for number, split in enumerate(("train2017", "val2017"), 1):
            (data_folder / split).mkdir()
            name = f"{number:012d}.jpg"
            (data_folder / "images" / name).rename(data_folder / split / name)
            part = {key: [each for each in content[key] if number in (each["id"], each.get("image_id"))]
                    for key in ("images", "annotations")}  # fmt: skip
            part["annotations"] = [each for each in content["annotations"] if each["image_id"] == number]
            part["categories"] = content["categories"]
            (data_folder / "annotations" / f"person_keypoints_{split}.json").write_text(json.dumps(part))
        (data_folder / "person_keypoints.json").unlink()
        return data_folder

    def test_training_reads_train_and_evaluation_val(self, both: Path, caplog) -> None:
        assert len(read_coco(both, purpose="train")) == 1
        assert len(read_coco(both)) == 2
        assert "split train2017" in caplog.text
        assert "split val2017" in caplog.text

    @pytest.mark.parametrize("split", ["train", "train2017"])
    def test_a_split_can_be_named(self, both: Path, split: str) -> None:
        assert len(read_coco(both, split=split)) == 1

    def test_one_that_is_not_there_is_answered_with_those_that_are(self, both: Path) -> None:
        with pytest.raises(FileNotFoundError, match="with a split 'test'.*it has train2017, val2017"):
            read_coco(both, split="test")

    def test_where_two_could_be_meant_it_asks(self, both: Path) -> None:
        labels = both / "annotations" / "person_keypoints_train2017.json"
        (both / "annotations" / "person_keypoints_train2014.json").write_text(labels.read_text())
        (both / "train2014").mkdir()
        with pytest.raises(ValueError, match="choose one, such as --split"):
            read_coco(both, purpose="train")

    def test_images_may_lie_below_images(self, both: Path) -> None:
        (both / "images").rmdir()
        (both / "images").mkdir()
        (both / "val2017").rename(both / "images" / "val2017")
        assert len(read_coco(both)) == 2


@pytest.mark.parametrize("content", ['{"images": []', "", "[" * 100_000, "\xff", "null", "3"])
def test_a_damaged_label_file_is_refused(data_folder: Path, content: str) -> None:
    (data_folder / "person_keypoints.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"person_keypoints\.json: it"):
        read_coco(data_folder)


def test_a_skeleton_that_does_not_match_is_refused(data_folder: Path) -> None:
    with pytest.raises(ValueError, match="mpii16 has 16"):
        read_coco(data_folder, MPII16)


def test_the_sample_has_225_people_with_keypoints_on_81_photographs(pose_samples: Path) -> None:
    people = read_coco(pose_samples)
    assert (len(people), len(people.images), len(people.with_keypoints())) == (350, 81, 225)

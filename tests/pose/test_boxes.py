import json
from pathlib import Path

import numpy as np
import pytest

from lehrnet.pose.boxes import KnownImages, read_boxes
from lehrnet.pose.skeleton import COCO17

NAME = "000000000785.jpg"
PICTURE = Path("photographs") / NAME


def written(folder: Path, content: object) -> Path:
    path = folder / "boxes.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    "content",
    [
        {
            "images": [{"id": 785, "file_name": NAME}],
            "annotations": [
                {"image_id": 785, "bbox": [1, 2, 3, 4], "category_id": 1},
                {"image_id": 785, "bbox": [1, 2, 3, 4], "category_id": 1, "iscrowd": 1},
                {"image_id": 785, "bbox": [1, 2, 3, 4], "category_id": 18},
            ],
        },
        [{"image_id": 785, "bbox": [1, 2, 3, 4], "category_id": 1, "score": 1.0}],
        {NAME: [[1, 2, 4, 6]], "another.jpg": [[0, 0, 1, 1]]},
        [[1, 2, 4, 6]],
    ],
    ids=["annotations", "detections", "by name", "bare"],
)
def test_every_form_gives_the_same_boxes(content: object, tmp_path: Path) -> None:
    found = read_boxes(written(tmp_path, content), [PICTURE])
    assert list(found) == [PICTURE]
    np.testing.assert_array_equal(found[PICTURE].boxes, [[1, 2, 4, 6]])
    np.testing.assert_array_equal(found[PICTURE].scores, [1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"image_id": 785, "bbox": [1, 2, -3, 4]}], r"image 785: box 0 is \[1.0, 2.0, -2.0, 6.0\]"),
        ([{"image_id": 785}], "image 785: bbox is None"),
        ({NAME: [[1, 2, float("nan"), 6]]}, f"{NAME}: box 0"),
        ({NAME: [[1, 2, "3", 6]]}, f"{NAME}: "),
        ([{"image_id": 785, "bbox": [1, 2, 3, 4], "score": "high"}], "score is 'high', expected a finite number"),
        ([{"image_id": 785, "bbox": [1, 2, 1e400, 4]}], "image 785"),
        ([3], "a bare list|has no image_id|boxes have shape"),
        ([{"image_id": 785, "bbox": [1, 2, 3, 4]}, 7], "entry 1 has no image_id"),
        ({NAME: "all"}, NAME),
        (3, "it holds int, expected COCO JSON"),
    ],
)
def test_a_wrong_entry_is_named(content: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_boxes(written(tmp_path, content), [PICTURE])


def test_a_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text("x1,y1")
    with pytest.raises(ValueError, match="is no JSON"):
        read_boxes(tmp_path / "boxes.json", [PICTURE])


def annotations(*names: str, category: int = 1, categories: object = None) -> dict:
    """A label file: one person on each image, in a box that tells them apart."""
    images = [{"id": f"id{place}", "file_name": name} for place, name in enumerate(names)]
    people = [
        {"image_id": f"id{place}", "bbox": [place, 0, 5, 5], "category_id": category} for place in range(len(names))
    ]
    return {"images": images, "annotations": people, **({"categories": categories} if categories else {})}


class TestWhichPictureIsMeant:
    def test_equal_names_in_two_folders_are_told_apart(self, tmp_path: Path) -> None:
        pictures = [tmp_path / "b" / "1.jpg", tmp_path / "a" / "1.jpg"]
        found = read_boxes(written(tmp_path, annotations("a/1.jpg", "b/1.jpg")), pictures)
        assert [found[picture].boxes[0, 0] for picture in pictures] == [1, 0]

    def test_a_single_picture_takes_its_own_folder_s_boxes(self, tmp_path: Path) -> None:
        path = written(tmp_path, annotations("a/1.jpg", "b/1.jpg"))
        assert read_boxes(path, [tmp_path / "b" / "1.jpg"])[tmp_path / "b" / "1.jpg"].boxes[0, 0] == 1
        assert read_boxes(path, [tmp_path / "c" / "1.jpg"]) == {}

    def test_a_name_that_could_be_two_is_refused(self, tmp_path: Path) -> None:
        pictures = [tmp_path / "a" / "1.jpg", tmp_path / "b" / "1.jpg"]
        with pytest.raises(ValueError, match=r"'1\.jpg' could be .*a/1\.jpg or .*b/1\.jpg"):
            read_boxes(written(tmp_path, {"1.jpg": [[0, 0, 1, 1]]}), pictures)

    def test_a_path_from_the_root_is_meant_first(self, tmp_path: Path) -> None:
        pictures = [tmp_path / "1.jpg", tmp_path / "a" / "1.jpg"]
        found = read_boxes(written(tmp_path, {"1.jpg": [[0, 0, 1, 1]]}), pictures, root=tmp_path)
        assert list(found) == pictures[:1]

    def test_detections_go_by_the_label_file_s_ids(self, tmp_path: Path) -> None:
        pictures = [tmp_path / "0007.jpg", tmp_path / "0001.jpg"]
        detections = [{"image_id": 1, "bbox": [0, 0, 5, 5]}, {"image_id": 2, "bbox": [9, 0, 5, 5]}]
        known = KnownImages({1: pictures[0], 2: pictures[1]}, 1)
        found = read_boxes(written(tmp_path, detections), pictures, known=lambda: known)
        assert [found[picture].boxes[0, 0] for picture in pictures] == [0, 9]

    @pytest.mark.parametrize("name", ["000000000785.jpg", "COCO_val2014_000000000785.jpg", "frame_785.jpg"])
    def test_without_a_label_file_digits_are_taken_and_that_is_said(self, name: str, tmp_path: Path, caplog) -> None:
        found = read_boxes(written(tmp_path, [{"image_id": 785, "bbox": [0, 0, 5, 5]}]), [tmp_path / name])
        assert len(found[tmp_path / name].boxes) == 1
        assert "the last digits of the file names are taken" in caplog.text

    def test_text_ids_find_numbers(self, tmp_path: Path) -> None:
        known = KnownImages({"785": PICTURE}, 1)
        found = read_boxes(written(tmp_path, [{"image_id": 785, "bbox": [0, 0, 5, 5]}]), [PICTURE], known=lambda: known)
        assert len(found[PICTURE].boxes) == 1


class TestWhoIsAPerson:
    @pytest.mark.parametrize("category", [0, 18, 44])
    def test_the_label_file_says(self, category: int, tmp_path: Path) -> None:
        categories = [
            {"id": 1, "name": "bicycle"},
            {"id": category, "name": "person", "keypoints": list(COCO17.joints)},
        ]
        content = annotations(NAME, category=category, categories=categories)
        content["annotations"].append({"image_id": "id0", "bbox": [50, 0, 5, 5], "category_id": 1})
        found = read_boxes(written(tmp_path, content), [PICTURE], skeleton=COCO17)
        assert found[PICTURE].boxes[:, 0].tolist() == [0]

    def test_a_list_that_could_mean_several_asks(self, tmp_path: Path) -> None:
        detections = [{"image_id": 785, "bbox": [kind, 0, 5, 5], "category_id": kind} for kind in (0, 1)]
        with pytest.raises(ValueError, match="its categories are 0, 1: name the person's"):
            read_boxes(written(tmp_path, detections), [PICTURE])
        found = read_boxes(written(tmp_path, detections), [PICTURE], category=0)
        assert found[PICTURE].boxes[:, 0].tolist() == [0]

    def test_the_only_category_is_the_person_s(self, tmp_path: Path, caplog) -> None:
        found = read_boxes(written(tmp_path, [{"image_id": 785, "bbox": [0, 0, 5, 5], "category_id": 0}]), [PICTURE])
        assert len(found[PICTURE].boxes) == 1
        assert "assumed to be the person's" in caplog.text


@pytest.mark.parametrize(
    "content", [[], {"images": [{"id": 785, "file_name": NAME}], "annotations": []}, {NAME: []}], ids=str
)
def test_nobody_is_an_answer(content: object, tmp_path: Path) -> None:
    assert len(read_boxes(written(tmp_path, content), [PICTURE])[PICTURE].boxes) == 0


def test_a_labelled_box_without_area_costs_itself_alone(tmp_path: Path, caplog) -> None:
    content = annotations(NAME)
    content["annotations"].append({"image_id": "id0", "bbox": [9, 9, 5, 0], "category_id": 1})
    assert len(read_boxes(written(tmp_path, content), [PICTURE])[PICTURE].boxes) == 1
    assert "has no area is left out" in caplog.text

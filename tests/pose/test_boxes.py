import json
from pathlib import Path

import numpy as np
import pytest

from lehrnet.pose.boxes import read_boxes

NAME = "000000000785.jpg"


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
    found = read_boxes(written(tmp_path, content), [NAME])
    assert list(found) == [NAME]
    np.testing.assert_array_equal(found[NAME].boxes, [[1, 2, 4, 6]])
    np.testing.assert_array_equal(found[NAME].scores, [1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"image_id": 785, "bbox": [1, 2, -3, 4]}], r"image 785: box 0 is \[1.0, 2.0, -2.0, 6.0\]"),
        ([{"image_id": 785}], "lacks 'bbox'"),
        ({NAME: [[1, 2, float("nan"), 6]]}, f"{NAME}: box 0"),
        ({NAME: "all"}, NAME),
        (3, "bare list"),
    ],
)
def test_a_wrong_entry_is_named(content: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_boxes(written(tmp_path, content), [NAME])


def test_a_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text("x1,y1")
    with pytest.raises(ValueError, match="is not JSON"):
        read_boxes(tmp_path / "boxes.json", [NAME])

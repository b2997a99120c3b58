import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from lehrnet.pose.boxes import PersonBoxes
from lehrnet.pose.pictures import read_image
from lehrnet.pose.skeleton import COCO17
from lehrnet.runtime import PoseEstimator, Poses, draw_poses
from lehrnet.runtime.predict import Prediction, coco_results, list_images, predict_to_folder


@pytest.fixture
def estimator(tiny_bundle: Path) -> PoseEstimator:
    return PoseEstimator.open(tiny_bundle, device="cpu")


def test_results_open_in_pycocotools(estimator, data_folder: Path, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    labels = data_folder / "person_keypoints.json"
    found = predict_to_folder(estimator, list_images(data_folder / "images"), labels, tmp_path / "out", 0.2)
    truth = coco.COCO(str(labels))
    loaded = truth.loadRes(str(tmp_path / "out" / "keypoints.json"))
    assert [len(prediction.poses) for prediction in found] == [1, 2]
    assert sorted(loaded.getImgIds()) == [1, 2]
    first = loaded.loadAnns(loaded.getAnnIds([1]))[0]
    np.testing.assert_allclose(np.reshape(first["keypoints"], (17, 3))[:, :2], found[0].poses.xy[0], atol=1e-3)


def test_each_image_gets_a_picture_of_its_size(estimator, data_folder: Path, tmp_path: Path) -> None:
    predict_to_folder(estimator, list_images(data_folder / "images"), None, tmp_path / "out", 0.0)
    picture = cv2.imread(str(tmp_path / "out" / "000000000002.png"))
    assert picture is not None
    assert picture.shape == (90, 80, 3)


def test_images_without_a_coco_id_are_numbered_by_name_or_place() -> None:
    def prediction(name: str) -> Prediction:
        poses = Poses(np.zeros((1, 17, 2), np.float32), np.full((1, 17), 0.5, np.float32), np.array([[1.0, 2, 4, 6]]))
        people = PersonBoxes(poses.boxes, np.array([0.5]))
        return Prediction(Path(name), np.zeros((8, 8, 3), np.uint8), people, poses)

    results = coco_results([prediction("street.jpg"), prediction("000000000785.jpg")])
    assert [result["image_id"] for result in results] == [1, 785]
    assert results[0]["bbox"] == [1, 2, 3, 4]
    assert results[0]["score"] == pytest.approx(0.25)
    json.dumps(results)


def test_boxes_for_none_of_the_images_are_refused(estimator, data_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text('{"other.jpg": [[0, 0, 1, 1]]}')
    with pytest.raises(ValueError, match="boxes for none of the 2 images"):
        predict_to_folder(estimator, list_images(data_folder / "images"), tmp_path / "boxes.json", None, 0.2)


def test_an_image_without_boxes_is_left_out_and_said(estimator, data_folder: Path, tmp_path: Path, caplog) -> None:
    (tmp_path / "boxes.json").write_text('{"000000000001.jpg": [[0, 0, 40, 40]]}')
    found = predict_to_folder(estimator, list_images(data_folder / "images"), tmp_path / "boxes.json", None, 0.2)
    assert [prediction.path.name for prediction in found] == ["000000000001.jpg"]
    assert "000000000002.jpg has no boxes" in caplog.text


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n and no more"])
def test_a_file_that_does_not_decode_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.jpg does not decode as an image"):
        read_image(tmp_path / "a.jpg")


def test_a_jpeg_that_is_cut_off_is_refused_not_filled_with_grey(data_folder: Path, tmp_path: Path) -> None:
    whole = (data_folder / "images" / "000000000001.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.jpg is cut off"):
        read_image(tmp_path / "cut.jpg")


def test_a_grey_image_is_read_as_colour(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((5, 6), 90, np.uint8))
    assert read_image(tmp_path / "grey.png").shape == (5, 6, 3)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no images in"):
        list_images(tmp_path)


def test_a_drawing_leaves_the_image_alone_and_shows_joints_above_the_threshold() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    xy, score = np.full((1, 17, 2), 20, np.float32), np.zeros((1, 17), np.float32)
    xy[0, 0], score[0, 0] = (70, 60), 0.9  # the nose alone is sure
    drawn = draw_poses(image, Poses(xy, score, np.array([[0.0, 0, 100, 100]])), COCO17, min_score=0.5)
    assert not image.any()
    assert drawn[60, 70].any()
    assert not drawn[:40, :40].any()


def test_points_far_outside_are_drawn_without_an_error() -> None:
    poses = Poses(np.full((1, 17, 2), 1e9, np.float32), np.ones((1, 17), np.float32), np.array([[0.0, 0, 9, 9]]))
    assert draw_poses(np.zeros((10, 10, 3), np.uint8), poses, COCO17).shape == (10, 10, 3)

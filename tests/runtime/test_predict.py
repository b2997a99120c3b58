import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from lehrnet.pose.boxes import PersonBoxes
from lehrnet.pose.pictures import read_image
from lehrnet.pose.skeleton import COCO17
from lehrnet.pose.spec import COCO
from lehrnet.runtime import PoseEstimator, Poses, draw_poses
from lehrnet.runtime.predict import Prediction, list_images, open_source, predict_to_folder, results_of


@pytest.fixture
def estimator(tiny_bundle: Path) -> PoseEstimator:
    return PoseEstimator.open(tiny_bundle, device="cpu")


def test_results_open_in_pycocotools(estimator, data_folder: Path, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    labels = data_folder / "person_keypoints.json"
    source = open_source(data_folder / "images", estimator.spec, labels)
    found = predict_to_folder(estimator, source, tmp_path / "out", 0.2)
    truth = coco.COCO(str(labels))
    loaded = truth.loadRes(str(tmp_path / "out" / "keypoints.json"))
    assert (found.images, found.people, found.bad) == (2, 3, [])
    assert sorted(loaded.getImgIds()) == [1, 2]
    first = loaded.loadAnns(loaded.getAnnIds([1]))[0]
    image = read_image(data_folder / "images" / "000000000001.jpg")
    poses = estimator(image, [[10, 20, 40, 70]])
    np.testing.assert_allclose(np.reshape(first["keypoints"], (17, 3))[:, :2], poses.xy[0], atol=1e-3)


def test_each_image_gets_a_picture_of_its_size(estimator, data_folder: Path, tmp_path: Path) -> None:
    predict_to_folder(estimator, open_source(data_folder / "images", estimator.spec), tmp_path / "out", 0.0)
    picture = cv2.imread(str(tmp_path / "out" / "000000000002.jpg"))
    assert picture is not None
    assert picture.shape == (90, 80, 3)


def test_images_without_a_coco_id_are_numbered_by_name_or_place(tmp_path: Path) -> None:
    for name in ("street.jpg", "000000000785.jpg", "a/1.jpg", "b/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    source = open_source(tmp_path, COCO)
    assert {source.name(path): source.ids[path] for path in source.pictures} == {
        **{"000000000785.jpg": 785, "street.jpg": 4},
        **{"a/1.jpg": 2, "b/1.jpg": 3},  # one name for two is none
    }
    poses = Poses(np.zeros((1, 17, 2), np.float32), np.full((1, 17), 0.5, np.float32), np.array([[1.0, 2, 4, 6]]))
    people = PersonBoxes(poses.boxes, np.array([0.5]))
    prediction = Prediction(tmp_path / "street.jpg", np.zeros((8, 8, 3), np.uint8), people, poses)
    (result,) = json.loads(json.dumps(results_of(prediction, source, COCO17)))
    assert (result["image_id"], result["bbox"], result["score"]) == (4, [1, 2, 3, 4], pytest.approx(0.25))


def test_boxes_for_none_of_the_images_are_refused(data_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text('{"other.jpg": [[0, 0, 1, 1]]}')
    with pytest.raises(ValueError, match="boxes for none of the 2 images"):
        open_source(data_folder / "images", COCO, tmp_path / "boxes.json")


def test_an_image_without_boxes_is_left_out_and_said(estimator, data_folder: Path, tmp_path: Path, caplog) -> None:
    (tmp_path / "boxes.json").write_text('{"000000000001.jpg": [[0, 0, 40, 40]]}')
    source = open_source(data_folder / "images", estimator.spec, tmp_path / "boxes.json")
    found = predict_to_folder(estimator, source, None, 0.2)
    assert (found.images, found.without_boxes) == (1, 1)
    assert "000000000002.jpg has no boxes" in caplog.text


class TestFoldersOfManyPictures:
    def test_a_bad_picture_costs_itself_alone(self, estimator, data_folder: Path, tmp_path: Path) -> None:
        images, out = data_folder / "images", tmp_path / "out"
        (images / "._000000000001.jpg").write_bytes(b"\0\5\x16\7 Mac OS X")
        found = predict_to_folder(estimator, open_source(images, estimator.spec), out, 0.2)
        assert (found.images, len(found.bad)) == (2, 1)
        assert len(json.loads((out / "keypoints.json").read_text())) == 2
        (failure,) = json.loads((out / "failures.json").read_text())
        assert failure["file_name"].endswith("._000000000001.jpg")
        assert not (out / "keypoints.jsonl").exists()

    def test_one_stem_twice_and_subfolders_keep_their_names(self, estimator, data_folder: Path, tmp_path: Path) -> None:
        images, out = data_folder / "images", tmp_path / "out"
        (images / "sub").mkdir()
        cv2.imwrite(str(images / "a.png"), np.zeros((40, 40, 3), np.uint8))
        cv2.imwrite(str(images / "a.jpg"), np.zeros((40, 40, 3), np.uint8))
        cv2.imwrite(str(images / "sub" / "a.jpg"), np.zeros((40, 40, 3), np.uint8))
        predict_to_folder(estimator, open_source(images, estimator.spec), out, 0.2)
        drawn = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*g"))
        assert drawn == ["000000000001.jpg", "000000000002.jpg", "a.jpg", "a.png", "sub/a.jpg"]
        names = [result["file_name"] for result in json.loads((out / "keypoints.json").read_text())]
        assert sorted(names) == drawn

    @pytest.mark.parametrize("spelling", ["images", "images/../images", "link"])
    def test_a_photograph_is_never_drawn_over(self, estimator, data_folder: Path, spelling: str) -> None:
        (data_folder / "link").symlink_to("images")
        before = {path.name: path.read_bytes() for path in (data_folder / "images").iterdir()}
        source = open_source(data_folder / "images", estimator.spec, out=data_folder / spelling)
        with pytest.raises(ValueError, match="would write a drawing over the photograph"):
            predict_to_folder(estimator, source, data_folder / spelling, 0.2)
        assert {path.name: path.read_bytes() for path in (data_folder / "images").iterdir()} == before

    def test_drawings_are_not_taken_for_pictures(self, estimator, data_folder: Path) -> None:
        images = data_folder / "images"
        for _ in range(2):
            source = open_source(images, estimator.spec, out=images / "out")
            assert predict_to_folder(estimator, source, images / "out", 0.2).images == 2

    def test_nobody_in_any_picture_is_an_empty_result(self, estimator, data_folder: Path, tmp_path: Path) -> None:
        (tmp_path / "nobody.json").write_text("[]")
        source = open_source(data_folder / "images", estimator.spec, tmp_path / "nobody.json")
        found = predict_to_folder(estimator, source, tmp_path / "out", 0.2)
        assert (found.images, found.people) == (2, 0)
        assert json.loads((tmp_path / "out" / "keypoints.json").read_text()) == []

    def test_detections_in_a_data_folder_go_by_its_labels_ids(self, estimator, data_folder: Path) -> None:
        labels = json.loads((data_folder / "person_keypoints.json").read_text())
        for entry, name in zip(labels["images"], ("0002.jpg", "0001.jpg"), strict=True):
            (data_folder / "images" / entry["file_name"]).rename(data_folder / "images" / name)
            entry["file_name"] = name
        (data_folder / "person_keypoints.json").write_text(json.dumps(labels))
        (data_folder / "found.json").write_text('[{"image_id": 1, "bbox": [0, 0, 9, 9], "category_id": 1}]')
        source = open_source(data_folder / "images", estimator.spec, data_folder / "found.json")
        assert source.boxes is not None
        assert {path.name: len(each.boxes) for path, each in source.boxes.items()} == {"0002.jpg": 1, "0001.jpg": 0}
        assert source.ids[data_folder / "images" / "0002.jpg"] == 1

    def test_labels_of_another_size_cost_their_picture(self, estimator, data_folder: Path) -> None:
        labels = json.loads((data_folder / "person_keypoints.json").read_text())
        labels["images"][0].update(width=900, height=800)
        (data_folder / "person_keypoints.json").write_text(json.dumps(labels))
        source = open_source(data_folder / "images", estimator.spec, data_folder / "person_keypoints.json")
        found = predict_to_folder(estimator, source, None, 0.2)
        assert [bad.reason for bad in found.bad] == [
            f"{data_folder}/images/000000000001.jpg is 80 x 90, the labels say 900 x 800: they belong to another image"
        ]


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

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lehrnet.pose.coco import read_coco
from lehrnet.pose.crop import invert_affines, transform_points
from lehrnet.pose.data import PoseData
from lehrnet.pose.evaluate import evaluate, metrics_table
from lehrnet.pose.frame import crop_to_cells, person_affines
from lehrnet.pose.heatmap import encode
from lehrnet.pose.mpii import read_mpii
from lehrnet.pose.spec import COCO, MPII, PoseSpec

pytest.importorskip("pycocotools")


class Oracle:
    """Gives the heatmaps of the labels, person after person, in the order in which `evaluate` asks."""

    def __init__(self, people: PoseData, spec: PoseSpec) -> None:
        affines = invert_affines(person_affines(people.boxes, spec))
        cells = crop_to_cells(transform_points(people.keypoints[..., :2], affines), spec)
        height, width = spec.input_size
        self.heatmaps = encode(cells, (height // 4, width // 4), spec.sigma)
        self.given = 0

    def __call__(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        self.given += len(crops)
        return self.heatmaps[self.given - len(crops) : self.given]


def test_a_perfect_network_scores_a_perfect_ap(pose_samples: Path) -> None:
    people = read_coco(pose_samples)
    spec = PoseSpec(decode="dark")
    order = np.argsort(people.image_of, kind="stable")
    found = evaluate(Oracle(people.take(order), spec), pose_samples, spec)
    assert (found.metric, found.people) == ("OKS AP", 350)
    assert found.figures["AP"] > 0.97  # people whose joints lie outside their padded boxes cost the rest
    assert found.figures["AP50"] > 0.99
    assert min(found.joints.values()) > 0.97
    table = metrics_table(found).splitlines()
    assert table[4].split() == ["nose", "eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"]


def test_a_perfect_network_scores_a_perfect_pckh(tmp_path: Path) -> None:
    folder = mpii_folder(tmp_path)
    found = evaluate(Oracle(read_mpii(folder), MPII), folder, MPII)
    assert (found.metric, found.people, found.figures["mean"]) == ("PCKh", 2, 1)


def test_detections_take_the_place_of_labelled_boxes(data_folder: Path, tmp_path: Path) -> None:
    detections = [{"image_id": 2, "category_id": 1, "bbox": [5, 5, 60, 70], "score": 0.5}] * 2
    (tmp_path / "found.json").write_text(json.dumps(detections))
    found = evaluate(flat, data_folder, COCO, detections=tmp_path / "found.json")
    assert found.people == 2
    assert len(found.results) == 1  # the second is the first again
    assert found.results[0]["score"] == pytest.approx(0.5)


def test_people_without_keypoints_are_kept(data_folder: Path) -> None:
    assert evaluate(flat, data_folder, COCO).people == 3


def test_the_flip_test_runs_every_crop_twice(data_folder: Path) -> None:
    calls = []
    evaluate(lambda crops: (calls.append(len(crops)), flat(crops))[1], data_folder, COCO, flip=True)
    assert calls == [3, 3]


def test_a_network_of_another_skeleton_is_refused(data_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mpii16 has 16"):
        evaluate(flat, data_folder, MPII)
    (tmp_path / "mpii").mkdir()
    with pytest.raises(ValueError, match="has mpii16's joints, but the network coco17's"):
        evaluate(flat, mpii_folder(tmp_path / "mpii"), COCO)


def test_a_folder_whose_head_sizes_are_missing_is_refused(tmp_path: Path) -> None:
    folder = mpii_folder(tmp_path)
    (folder / "headsize.json").unlink()
    with pytest.raises(FileNotFoundError, match="PCKh divides by"):
        evaluate(Oracle(read_mpii(folder), MPII), folder, MPII)


def test_the_table_is_in_percent(data_folder: Path) -> None:
    table = metrics_table(evaluate(flat, data_folder, COCO))
    assert table.startswith("OKS AP of 3 people, %\n")
    assert len(table.splitlines()[1].split()) == len(table.splitlines()[2].split()) == 10


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda person: person["joints"].pop(), "its joints are not finite numbers of shape (16, 2)"),
        (lambda person: person["joints"][0].pop(), "its joints are no numbers"),
        (lambda person: person.update(scale=0), "its scale is not positive"),
        (lambda person: person.update(scale=10**400), "its scale are no numbers"),
        (lambda person: person.pop("center"), "it lacks 'center'"),
        (lambda person: person["joints"].__setitem__(2, [float("nan"), 1]), "its joints are not finite numbers of sha"),
        (lambda person: person.update(image="../../images/a.jpg"), "its image is no path within the images' folder"),
    ],
)
def test_a_bad_mpii_person_is_left_out_and_the_head_sizes_stay_with_theirs(change, reason: str, tmp_path: Path) -> None:
    folder = mpii_folder(tmp_path)
    people = json.loads((folder / "annotations.json").read_text())
    people.insert(1, json.loads(json.dumps(people[0])))
    change(people[1])
    (folder / "annotations.json").write_text(json.dumps(people))
    heads = [{"image": "a.jpg", "headsize": 10.0}, {"image": "b.jpg", "headsize": 20.0}]
    (folder / "headsize.json").write_text(json.dumps(heads))
    found = read_mpii(folder)
    assert found.head_sizes is not None
    assert found.head_sizes.tolist() == [10, 20]
    assert [name for name in found.reading.left_out if name.startswith(reason)]


def test_two_people_of_one_picture_have_a_head_size_each(tmp_path: Path) -> None:
    folder = mpii_folder(tmp_path)
    people = json.loads((folder / "annotations.json").read_text())
    people[1]["image"] = "a.jpg"
    (folder / "annotations.json").write_text(json.dumps(people))
    heads = [{"image": "a.jpg", "headsize": size} for size in (10.0, 90.0)]
    (folder / "headsize.json").write_text(json.dumps(heads))
    found = read_mpii(folder)
    assert found.head_sizes is not None
    assert found.head_sizes.tolist() == [10, 90]
    (folder / "headsize.json").write_text(json.dumps(heads[:1]))
    with pytest.raises(ValueError, match=r"a\.jpg has 1 head sizes for 2 people"):
        read_mpii(folder)


class TestIdsAndDefaultsDoNotChangeTheFigures:
    """One set of labels, written in ways that people write them, has one AP: that of the labels as they were."""

    @staticmethod
    def people_from_zero(content: dict) -> None:
        for number, entry in enumerate(content["annotations"]):
            entry["id"] = number

    @staticmethod
    def category_zero(content: dict) -> None:
        content["categories"][0]["id"] = 0
        for entry in content["annotations"]:
            entry["category_id"] = 0

    @staticmethod
    def text_ids(content: dict) -> None:
        for entry in content["images"]:
            entry["id"] = f"{entry['id']:06d}"
        for entry in content["annotations"]:
            entry["image_id"] = f"{entry['image_id']:06d}"

    @staticmethod
    def no_crowds_or_counts(content: dict) -> None:
        for entry in content["annotations"]:
            entry.pop("iscrowd"), entry.pop("num_keypoints")

    @staticmethod
    def a_box_without_height(content: dict) -> None:
        bare = {"keypoints": [0] * 51, "num_keypoints": 0, "bbox": [9.98, 18.56, 5.54, 0.0], "area": 0.0}
        content["annotations"].append({**content["annotations"][0], "id": 99, **bare})

    @pytest.mark.parametrize(
        "change", ["people_from_zero", "category_zero", "text_ids", "no_crowds_or_counts", "a_box_without_height"]
    )
    def test_on_drawn_figures(self, drawn_folder: Path, change: str, tmp_path: Path) -> None:
        content = json.loads((drawn_folder / "person_keypoints.json").read_text())
        getattr(self, change)(content)
        (tmp_path / "images").symlink_to(drawn_folder / "images")
        (tmp_path / "person_keypoints.json").write_text(json.dumps(content))
        expected = evaluate(Oracle(ordered(drawn_folder), COCO), drawn_folder, COCO).figures
        assert expected["AP"] > 0.9
        assert evaluate(Oracle(ordered(tmp_path), COCO), tmp_path, COCO).figures == pytest.approx(expected, nan_ok=True)


def ordered(folder: Path) -> PoseData:
    people = read_coco(folder)
    return people.take(np.argsort(people.image_of, kind="stable"))


def test_detections_by_label_ids_beside_other_numbers_in_the_names(data_folder: Path, tmp_path: Path) -> None:
    labels = json.loads((data_folder / "person_keypoints.json").read_text())
    for entry, name in zip(labels["images"], ("0002.jpg", "0001.jpg"), strict=True):
        (data_folder / "images" / entry["file_name"]).rename(data_folder / "images" / name)
        entry["file_name"] = name
    (data_folder / "person_keypoints.json").write_text(json.dumps(labels))
    (tmp_path / "found.json").write_text('[{"image_id": 1, "category_id": 1, "bbox": [5, 5, 60, 70], "score": 1.0}]')
    found = evaluate(flat, data_folder, COCO, detections=tmp_path / "found.json")
    assert [result["image_id"] for result in found.results] == [1]


def test_a_picture_that_cannot_be_read_costs_its_own_people(data_folder: Path) -> None:
    path = data_folder / "images" / "000000000001.jpg"
    path.write_bytes(path.read_bytes()[:500])
    found = evaluate(flat, data_folder, COCO)
    assert [bad.path.name for bad in found.bad] == ["000000000001.jpg"]
    assert {result["image_id"] for result in found.results} == {2}


def flat(crops: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every joint in the middle of the crop."""
    height, width = crops.shape[2] // 4, crops.shape[3] // 4
    return encode(np.full((len(crops), 17, 2), [width / 2, height / 2]), (height, width), 2.0)


def mpii_folder(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    people, heads = [], []
    for name in ("a.jpg", "b.jpg"):
        cv2.imwrite(str(folder / "images" / name), rng.integers(0, 256, (300, 300, 3), dtype=np.uint8))
        joints = rng.uniform(100, 200, (16, 2)).tolist()
        people.append({"image": name, "center": [150, 150], "scale": 1.0, "joints": joints, "joints_vis": [1] * 16})
        heads.append({"image": name, "headsize": 20.0})
    (folder / "annotations.json").write_text(json.dumps(people))
    (folder / "headsize.json").write_text(json.dumps(heads))
    return folder

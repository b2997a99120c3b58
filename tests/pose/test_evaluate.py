import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lehrnet.pose.coco import read_coco
from lehrnet.pose.crop import invert_affines, person_affines, transform_points
from lehrnet.pose.data import PoseData
from lehrnet.pose.evaluate import evaluate, figures_table
from lehrnet.pose.heatmap import crop_to_cells, encode
from lehrnet.pose.mpii import read_mpii
from lehrnet.pose.spec import COCO, MPII, PoseSpec

pytest.importorskip("pycocotools")


class Oracle:
    """Gives the heatmaps of the labels, person after person, in the order in which `evaluate` asks."""

    def __init__(self, people: PoseData, spec: PoseSpec) -> None:
        affines = invert_affines(person_affines(people.boxes, spec))
        cells = crop_to_cells(transform_points(people.keypoints[..., :2], affines))
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
    table = figures_table(found).splitlines()
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
    table = figures_table(evaluate(flat, data_folder, COCO))
    assert table.startswith("OKS AP of 3 people, %\n")
    assert len(table.splitlines()[1].split()) == len(table.splitlines()[2].split()) == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda people: people[0]["joints"].pop(), "joints|inhomogeneous"),
        (lambda people: people[1].update(scale=0), "person 1"),
        (lambda people: people[1].pop("center"), "lacks 'center'"),
        (lambda people: people[1]["joints"].__setitem__(2, [float("nan"), 1]), "person 1"),
    ],
)
def test_wrong_mpii_labels_are_refused(change, message: str, tmp_path: Path) -> None:
    folder = mpii_folder(tmp_path)
    people = json.loads((folder / "annotations.json").read_text())
    change(people)
    (folder / "annotations.json").write_text(json.dumps(people))
    with pytest.raises(ValueError, match=message):
        read_mpii(folder)


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

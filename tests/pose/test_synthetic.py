"""Drawn figures: their labels are exact, and they are a COCO data folder like any other."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from lehrnet.pose.coco import read_coco
from lehrnet.pose.skeleton import COCO17
from lehrnet.pose.synthetic import draw_scene, write_synthetic


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "synthetic"
    write_synthetic(folder, 6, seed=1)
    return folder


def test_it_reads_as_coco_and_most_joints_are_labelled(folder: Path) -> None:
    people = read_coco(folder)
    assert len(people.images) == 6
    assert (people.keypoints[:, :, 2] > 0).mean() > 0.7
    assert {1, 2} <= set(np.unique(people.keypoints[:, :, 2]))


def test_labelled_joints_lie_within_the_box_that_they_are_drawn_in(folder: Path) -> None:
    people = read_coco(folder)
    points = people.keypoints[..., :2]
    inside = (points >= people.boxes[:, None, :2] - 1) & (points <= people.boxes[:, None, 2:] + 1)
    outside = ~np.asarray(inside).all(2) & (people.keypoints[..., 2] > 0)
    assert not outside.any()


def test_a_seen_wrist_has_the_colour_of_its_own_forearm() -> None:
    """The labels follow the pixels: halfway from elbow to wrist the picture has the wrist's colour."""
    differences = []
    for seed in range(20):
        picture, people = draw_scene(np.random.default_rng(seed))
        smooth = cv2.GaussianBlur(picture, (0, 0), 2).astype(float)
        for person in people:
            joints = dict(zip(COCO17.joints, np.reshape(person["keypoints"], (17, 3)), strict=True))
            wrist, elbow = joints["left_wrist"], joints["left_elbow"]
            if wrist[2] == elbow[2] == 2:
                places = np.array([wrist[:2], 0.8 * wrist[:2] + 0.2 * elbow[:2]]).round().astype(int)
                differences.append(np.abs(np.subtract(*smooth[places[:, 1], places[:, 0]])).max())
    assert len(differences) > 10
    assert np.median(differences) < 15


def test_the_same_seed_draws_the_same_and_another_does_not(folder: Path, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "same", 6, seed=1)
    write_synthetic(tmp_path / "other", 6, seed=2)
    labels = [path.joinpath("person_keypoints.json").read_text() for path in (folder, tmp_path / "same")]
    assert labels[0] == labels[1]
    assert labels[0] != (tmp_path / "other" / "person_keypoints.json").read_text()


def test_nothing_is_drawn_over_a_folder_or_for_no_images(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="exists already"):
        write_synthetic(folder, 2)
    with pytest.raises(ValueError, match="images is 0"):
        write_synthetic(tmp_path / "none", 0)
    assert not list(tmp_path.iterdir())

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lehrnet.calibration.samples import check_photographs, divide, read_people, stratified
from lehrnet.pose.spec import MPII, PoseSpec

SPEC = PoseSpec(input_size=(64, 64))


def test_nobody_is_both_calibrated_and_judged_on(drawn_folder: Path) -> None:
    people = read_people(drawn_folder, SPEC)
    first, second = divide(people, 12, 8)
    assert (len(first.people), len(second.people)) == (12, 8)
    assert not set(first.people.person_ids) & set(second.people.person_ids)


def test_a_seed_chooses_the_same_people(drawn_folder: Path) -> None:
    people = read_people(drawn_folder, SPEC)
    assert divide(people, 9, 9, seed=3)[0].facts() == divide(people, 9, 9, seed=3)[0].facts()
    assert divide(people, 9, 9, seed=3)[0].facts() != divide(people, 9, 9, seed=4)[0].facts()


def test_both_parts_shrink_where_people_are_few(drawn_folder: Path) -> None:
    people = read_people(drawn_folder, SPEC)
    first, second = divide(people, 2000, 1000)
    assert len(first.people) + len(second.people) <= len(people)
    assert len(first.people) == pytest.approx(2 * len(second.people), abs=2)


def test_every_class_of_size_is_there() -> None:
    sizes = np.arange(100.0)
    chosen = stratified(sizes, np.arange(100), 10, np.random.default_rng(0))
    assert (chosen // 10 == np.arange(10)).all()


def test_labels_come_in_crop_px(drawn_folder: Path) -> None:
    sample, _ = divide(read_people(drawn_folder, SPEC), 16, 8)
    crops, keypoints, areas = next(sample.batches(SPEC, 16))
    seen = keypoints[keypoints[..., 2] > 0]
    assert crops.shape == (16, 3, 64, 64)
    assert 0 < np.median(seen[:, 0]) < 64
    assert ((areas > 20) & (areas < 64 * 64)).all()


def test_few_people_are_too_few(data_folder: Path) -> None:
    with pytest.raises(ValueError, match="has 2 people, expected at least 16"):
        read_people(data_folder, SPEC)


def test_people_without_labels_serve_by_their_boxes(drawn_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(drawn_folder, tmp_path / "unlabelled")
    labels = folder / "person_keypoints.json"
    content = json.loads(labels.read_text())
    for person in content["annotations"]:
        del person["keypoints"]
    labels.write_text(json.dumps(content))
    sample, _ = divide(read_people(folder, SPEC), 16, 8)
    assert not sample.labelled


def test_another_skeleton_is_refused(drawn_folder: Path) -> None:
    with pytest.raises(ValueError, match="joints"):
        read_people(drawn_folder, MPII)


def test_an_image_that_does_not_decode_is_named(drawn_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(drawn_folder, tmp_path / "damaged")
    broken = sorted((folder / "images").iterdir())[0]
    broken.write_bytes(b"no picture")
    sample, _ = divide(read_people(folder, SPEC), 200, 100)
    with pytest.raises((ValueError, OSError), match=broken.name):
        list(sample.batches(SPEC, 8))


@pytest.mark.parametrize(("crops", "reason"), [("noise", "are noise"), ("blank", "are blank")])
def test_what_is_no_photograph_is_refused(crops: str, reason: str) -> None:
    noise = np.random.default_rng(0).standard_normal((2, 3, 64, 64), dtype=np.float32)
    with pytest.raises(ValueError, match=reason):
        check_photographs(noise if crops == "noise" else np.ones_like(noise))

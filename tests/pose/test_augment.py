import numpy as np
import pytest

from lehrnet.pose.augment import MARGIN, NONE, Augmentation, draw_views, view_keypoints
from lehrnet.pose.skeleton import COCO17
from lehrnet.pose.spec import COCO, PoseSpec

STORED = (320, 240)


@pytest.fixture
def keypoints() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate((rng.uniform((60, 60), (180, 260), (50, 17, 2)), np.full((50, 17, 1), 2.0)), axis=2)


def test_without_augmentation_a_view_is_the_middle_of_the_stored_crop(keypoints) -> None:
    views = draw_views(keypoints, STORED, COCO, NONE, np.random.default_rng(0))
    expected = [[1, 0, (240 - 192) / 2], [0, 1, (320 - 256) / 2]]
    np.testing.assert_allclose(views.affines, np.tile(expected, (50, 1, 1)), atol=1e-9)
    seen = view_keypoints(keypoints, views, COCO17)
    np.testing.assert_allclose(seen[..., :2], keypoints[..., :2] - [24, 32], atol=1e-9)
    assert not views.mirrored.any()
    assert (views.gains == 1).all()


def test_a_smaller_network_sees_the_same_person_smaller(keypoints) -> None:
    half = PoseSpec(input_size=(128, 96))
    large, small = (
        view_keypoints(keypoints, draw_views(keypoints, STORED, spec, NONE, np.random.default_rng(0)), COCO17)
        for spec in (COCO, half)
    )
    np.testing.assert_allclose((small[..., :2] + 0.5) * 2, large[..., :2] + 0.5, atol=1e-9)


def test_views_stay_within_their_bounds(keypoints) -> None:
    views = draw_views(keypoints, STORED, COCO, Augmentation(brightness=0.2), np.random.default_rng(0))
    zoom = np.sqrt(np.abs(np.linalg.det(views.affines[:, :, :2])))
    angle = np.rad2deg(np.arctan2(-views.affines[:, 0, 1], views.affines[:, 1, 1]))
    assert 0.65 <= zoom.min() < 0.75
    assert 1.25 < zoom.max() <= 1.35
    assert -45 <= angle.min() < -30
    assert 30 < angle.max() <= 45
    assert 10 < views.mirrored.sum() < 40
    assert 0.8 <= views.gains.min() < views.gains.max() <= 1.2
    np.testing.assert_array_equal(np.linalg.det(views.affines[:, :, :2]) < 0, views.mirrored)


def test_a_mirrored_view_exchanges_left_and_right(keypoints) -> None:
    mirrored = Augmentation(rotation_deg=0, scale=(1, 1), mirrored=1)
    plain, seen = (
        view_keypoints(keypoints, draw_views(keypoints, STORED, COCO, one, np.random.default_rng(0)), COCO17)
        for one in (NONE, mirrored)
    )
    np.testing.assert_allclose(191 - seen[:, list(COCO17.mirror), 0], plain[..., 0], atol=1e-9)
    np.testing.assert_allclose(seen[:, list(COCO17.mirror), 1], plain[..., 1], atol=1e-9)


def test_a_half_body_fills_its_view_and_needs_labels(keypoints) -> None:
    half = Augmentation(rotation_deg=0, scale=(1, 1), mirrored=0, half_body=1)
    seen = view_keypoints(keypoints, draw_views(keypoints, STORED, COCO, half, np.random.default_rng(0)), COCO17)
    upper, lower = seen[:, list(COCO17.upper_body), :2], seen[:, 11:, :2]
    inside = [((part > 0) & (part < [191, 255])).all((1, 2)) for part in (upper, lower)]
    assert (inside[0] | inside[1]).all()
    keypoints[..., 2] = 0
    unlabelled = draw_views(keypoints, STORED, COCO, half, np.random.default_rng(0))
    np.testing.assert_allclose(unlabelled.affines[:, 0, 0], 320 / (MARGIN * 256))


def test_an_impossible_augmentation_is_refused() -> None:
    with pytest.raises(ValueError, match="scale is a positive range"):
        Augmentation(scale=(1.2, 0.8))

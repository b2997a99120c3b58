import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lehrnet.pose import crop
from lehrnet.pose.spec import COCO, PoseSpec

BOXES = {
    "inside": [30, 20, 80, 100],
    "over every edge": [-50, -40, 210, 190],
    "beyond the image": [400, 300, 450, 380],
    "smaller than a pixel": [10.2, 11.3, 10.9, 12.1],
    "tall": [70, -30, 75, 160],
}
boxes = pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
sides = st.floats(1, 800)


@given(x=st.floats(-500, 500), y=st.floats(-500, 500), width=sides, height=sides)
def test_a_point_survives_the_round_trip_through_the_crop(x: float, y: float, width: float, height: float) -> None:
    affines = crop.person_affines(np.array([[x, y, x + width, y + height]]), COCO)
    points = np.array([[[x, y], [x + width, y + height / 3]]])
    there = crop.transform_points(points, crop.invert_affines(affines))
    np.testing.assert_allclose(crop.transform_points(there, affines), points, atol=1e-6)  # image px


@given(x=st.floats(-500, 500), y=st.floats(-500, 500), width=sides, height=sides)
def test_a_padded_box_lies_within_its_crop_and_touches_two_edges(
    x: float, y: float, width: float, height: float
) -> None:
    centre = np.array([x + width / 2, y + height / 2]) - 0.5
    half = COCO.padding * np.array([width, height]) / 2
    affines = crop.person_affines(np.array([[x, y, x + width, y + height]]), COCO)
    corners = crop.transform_points(np.stack((centre - half, centre + half))[None], crop.invert_affines(affines))[0]
    edges = np.array([[-0.5, -0.5], [191.5, 255.5]])
    assert (corners[0] >= edges[0] - 1e-6).all()
    assert (corners[1] <= edges[1] + 1e-6).all()
    assert np.isclose(corners, edges).any(1).all()


def test_a_crop_of_its_own_size_and_place_is_the_image_unchanged() -> None:
    spec = PoseSpec(input_size=(96, 64), padding=1.0, mean=(0, 0, 0), std=(1, 1, 1))
    image = np.random.default_rng(0).integers(0, 256, (96, 64, 3), dtype=np.uint8)
    crops, _ = crop.crop_people(image, np.array([[0.0, 0, 64, 96]]), spec)
    np.testing.assert_array_equal((crops[0] * 255).round().astype(np.uint8), image.transpose(2, 0, 1)[::-1])


@boxes
@pytest.mark.parametrize("sample", [crop.sample_upright, crop.sample_by_opencv], ids=["numpy", "opencv"])
def test_the_fast_samplers_equal_the_definition(sample, box: list[float], image: NDArray[np.uint8]) -> None:
    if sample is crop.sample_by_opencv and not crop.opencv_is_exact():
        pytest.skip("this OpenCV rounds its weights, so the product does not use its warp")
    affine = crop.person_affines(np.array([box], float), COCO)[0]
    expected = crop.sample_bilinear(image, affine, COCO.input_size)
    found = sample(image, affine, COCO.input_size)
    np.testing.assert_allclose(found, expected, atol=0.05)  # grey levels of 255


@boxes
@pytest.mark.parametrize("exact", [True, False])
def test_crops_are_the_normalized_definition(box, exact: bool, image: NDArray[np.uint8], monkeypatch) -> None:
    if exact and not crop.opencv_is_exact():
        pytest.skip("this OpenCV rounds its weights, so the product does not use its warp")
    monkeypatch.setattr(crop, "opencv_is_exact", lambda: exact)
    crops, affines = crop.crop_people(image, np.array([box], float), COCO)
    rgb = crop.sample_bilinear(image, affines[0], COCO.input_size)[..., ::-1] / 255
    expected = ((rgb - COCO.mean) / COCO.std).transpose(2, 0, 1)
    np.testing.assert_allclose(crops[0], expected, atol=1 / 255)  # of the range
    assert crops.dtype == np.float32


def test_a_mirrored_box_in_a_mirrored_image_gives_the_mirrored_crop(image: NDArray[np.uint8]) -> None:
    height, width = image.shape[:2]
    box = np.array([[30.0, 20, 81, 100]])
    mirrored_box = np.array([[width - 81.0, 20, width - 30, 100]])
    crops, _ = crop.crop_people(image, box, COCO)
    mirrored, _ = crop.crop_people(np.ascontiguousarray(image[:, ::-1]), mirrored_box, COCO)
    np.testing.assert_allclose(mirrored, crops[..., ::-1], atol=1e-3)


def test_no_boxes_give_no_crops(image: NDArray[np.uint8]) -> None:
    crops, affines = crop.crop_people(image, crop.check_boxes([]), COCO)
    assert crops.shape == (0, 3, 256, 192)
    assert affines.shape == (0, 2, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([[0, 0, float("nan"), 5]], r"box 0 is \[0.0, 0.0, nan, 5.0\]"),
        ([[0, 0, 5, 5], [3, 3, 1, 9]], "box 1"),
        ([[0, 0, 0, 5]], "x1 < x2"),
        ([0, 0, 5, 5], r"shape \(4,\)"),
        ([[1, 2, 3]], r"shape \(1, 3\)"),
    ],
)
def test_a_bad_box_is_named(wrong: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        crop.check_boxes(wrong)


@pytest.mark.parametrize("shape", [(0, 10, 3), (10, 10), (10, 10, 1), (10, 10, 4)])
def test_an_image_without_three_channels_or_pixels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected \\(height, width, 3\\) of uint8"):
        crop.check_image(np.zeros(shape, np.uint8))

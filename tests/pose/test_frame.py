"""Frames: what must hold in each, and HRNet's official code by its own outputs (../shared/data/foreign)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lehrnet.pose.crop import corners, crop_people, invert_affines, transform_points
from lehrnet.pose.frame import cells_to_crop, crop_to_cells, person_affines
from lehrnet.pose.heatmap import FRAMES, Frame, decode, encode, fuse_flipped, unmirrored
from lehrnet.pose.points import find_points
from lehrnet.pose.skeleton import COCO17
from lehrnet.pose.spec import COCO, PoseSpec

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "data" / "foreign" / "hrnet_inference_golden.npz"
HRNET = PoseSpec(frame="hrnet")


@pytest.fixture(scope="module")
def golden():
    if not GOLDEN.is_file():
        pytest.skip("the official code's outputs of ../shared/data/foreign are not on this machine")
    with np.load(GOLDEN) as file:
        return {name: file[name].astype(np.promote_types(file[name].dtype, np.float32)) for name in file.files}


def test_hrnet_s_affines_are_the_official_ones(golden) -> None:
    found = invert_affines(person_affines(corners(golden["boxes_xywh"]), HRNET))
    np.testing.assert_allclose(found[..., :2], golden["image_to_crop"][..., :2], atol=1e-6)
    np.testing.assert_allclose(found[..., 2], golden["image_to_crop"][..., 2], atol=2e-5)  # px; its corners are float32


def test_hrnet_s_keypoints_are_the_official_ones(golden) -> None:
    affines = person_affines(corners(golden["boxes_xywh"]), HRNET)
    points = find_points(lambda _: golden["heatmaps"], np.empty((6, 3, 256, 192), np.float32), affines, HRNET)
    assert np.abs(points[..., :2] - golden["keypoints"]).max() < 0.01
    np.testing.assert_array_equal(points[..., 2], golden["scores"])
    ours = find_points(lambda _: golden["heatmaps"], np.empty((6, 3, 256, 192), np.float32), affines, COCO)
    assert np.abs(ours[..., :2] - golden["keypoints"]).max() > 1  # another frame is another place


def test_hrnet_s_flip_test_is_the_official_one(golden) -> None:
    np.testing.assert_array_equal(unmirrored(golden["flipped"], COCO17.mirror, "hrnet"), golden["flipped_back_shifted"])


@pytest.mark.parametrize("frame", FRAMES)
def test_cells_and_crop_px_lead_back_and_forth(frame: Frame) -> None:
    spec = PoseSpec(frame=frame)
    cells = np.random.default_rng(0).uniform(0, 47, (2, 17, 2))
    np.testing.assert_allclose(crop_to_cells(cells_to_crop(cells, spec), spec), cells, atol=1e-12)


@pytest.mark.parametrize(
    ("frame", "first", "last"),
    [("edges", (1.5, 1.5), (189.5, 253.5)), ("hrnet", (0, 0), (188, 252)), ("udp", (0, 0), (191, 255))],
)
def test_the_outermost_cells_lie_where_the_frame_says(frame: Frame, first, last) -> None:
    found = cells_to_crop(np.array([[0.0, 0], [47, 63]]), PoseSpec(frame=frame))
    np.testing.assert_allclose(found, [first, last], atol=1e-12)


@pytest.mark.parametrize(
    ("frame", "left_top", "right_bottom"),
    [("edges", (-0.5, -0.5), (191.5, 255.5)), ("hrnet", (0, 0), (192, 256)), ("udp", (0, 0), (191, 255))],
)
def test_a_box_of_the_input_s_aspect_fills_the_crop(frame: Frame, left_top, right_bottom) -> None:
    spec = PoseSpec(frame=frame, padding=1.0)
    edge = -0.5 if frame == "edges" else 0.0  # edges are half a pixel before indices
    box = np.array([[10.0, 20, 10 + 96, 20 + 128]])
    ends = box.reshape(1, 2, 2) + edge
    found = transform_points(ends, invert_affines(person_affines(box, spec)))
    np.testing.assert_allclose(found[0], [left_top, right_bottom], atol=1e-9)


@pytest.mark.parametrize("frame", FRAMES)
def test_a_mirrored_crop_s_heatmaps_come_back_onto_the_crop_s(frame: Frame) -> None:
    """Gaussians where a perfect network finds them in a crop and in its mirror image, x to width - 1 - x in px."""
    spec = PoseSpec(frame=frame, decode="dark")
    rng = np.random.default_rng(1)
    points = np.stack((rng.uniform(40, 150, (3, 17)), rng.uniform(40, 210, (3, 17))), 2)
    mirrored = points[:, list(COCO17.mirror)] * [-1, 1] + [191, 0]
    heatmaps, of_mirrored = (encode(crop_to_cells(each, spec), (64, 48), 2.0) for each in (points, mirrored))
    fused = fuse_flipped(heatmaps, of_mirrored, COCO17.mirror, frame)
    found = cells_to_crop(decode(fused, "dark", frame)[0], spec)
    limit = 0.6 if frame == "hrnet" else 0.05  # px: a shift by a whole cell is right for its px 4 i to a quarter cell
    assert np.abs(found - points).max() < limit


@pytest.mark.parametrize("frame", FRAMES)
def test_a_picture_s_point_is_found_in_every_frame(frame: Frame) -> None:
    """A dot of an image, cropped, seen by a perfect network, and decoded: the way of a frame's parts together."""
    spec = PoseSpec(frame=frame, decode="udp", mean=(0, 0, 0), std=(1, 1, 1))
    image = np.zeros((300, 300, 3), np.uint8)
    image[139:142, 149:152] = 255  # centre: 150, 140
    crops, affines = crop_people(image, np.array([[60.0, 20, 210, 220]]), spec)
    mass = crops[0, 0] / crops[0, 0].sum()
    y, x = np.indices(mass.shape)
    seen = np.array([[[(mass * x).sum(), (mass * y).sum()]]])
    heatmaps = np.repeat(encode(crop_to_cells(seen, spec), (64, 48), 2.0), 17, 1)
    points = find_points(lambda _: heatmaps, crops, affines, spec)
    assert np.abs(points[0, :, :2] - (150, 140)).max() < 0.05


def test_a_frame_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="frame is 'corners', expected one of edges, hrnet, udp"):
        replace(COCO, frame="corners")

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lehrnet.benchmarks.host import decode_by_loops
from lehrnet.pose import heatmap
from lehrnet.pose.crop import invert_affines, transform_points
from lehrnet.pose.frame import cells_to_crop, crop_to_cells, person_affines
from lehrnet.pose.heatmap import DecodeMethod, EncodeMethod, decode, encode
from lehrnet.pose.skeleton import COCO17
from lehrnet.pose.spec import COCO

GRID = (64, 48)
# How far a decoded point may lie from the encoded one on either axis, in cells, eight cells from the border and beyond.
PRECISION: dict[tuple[EncodeMethod, DecodeMethod], float] = {
    ("gaussian", "quarter"): 0.5,  # the centre was rounded
    ("gaussian", "dark"): 0.5,
    ("gaussian", "udp"): 0.5,
    ("unbiased", "quarter"): 0.25,
    ("unbiased", "dark"): 0.002,
    ("unbiased", "udp"): 0.001,
}
FLOAT = 1e-4  # cells: Gaussians are float32
methods = pytest.mark.parametrize("method", heatmap.DECODE_METHODS)


@pytest.mark.parametrize(("encoding", "decoding"), PRECISION)
@given(x=st.floats(8, 39), y=st.floats(8, 55))
def test_a_point_is_decoded_to_where_it_was_encoded(
    encoding: EncodeMethod, decoding: DecodeMethod, x: float, y: float
) -> None:
    points, scores = decode(encode(np.array([[[x, y]]]), GRID, COCO.sigma, encoding), decoding)
    assert np.abs(points - (x, y)).max() <= PRECISION[encoding, decoding] + FLOAT
    assert 0.93 < scores[0, 0] <= 1  # half a cell off on both axes costs 1 - exp(-1/16)


@methods
@given(x=st.floats(0, 47), y=st.floats(0, 63))
def test_a_point_near_the_border_is_decoded_within_a_cell(method: DecodeMethod, x: float, y: float) -> None:
    points, _ = decode(encode(np.array([[[x, y]]]), GRID, COCO.sigma), method)
    assert np.abs(points - (x, y)).max() <= 1


@pytest.mark.parametrize(("method", "limit"), [("quarter", 0.25), ("dark", 0.002), ("udp", 0.001)])
@given(x=st.floats(0.2, 0.8), y=st.floats(0.2, 0.8), left=st.floats(-99, 99), width=st.floats(20, 900))
def test_an_image_point_comes_back_through_crop_and_heatmap(
    method: DecodeMethod, limit: float, x: float, y: float, left: float, width: float
) -> None:
    box = np.array([[left, 10, left + width, 10 + 1.5 * width]])
    point = np.array([[[left + x * width, 10 + y * 1.5 * width]]])
    affines = person_affines(box, COCO)
    cells = crop_to_cells(transform_points(point, invert_affines(affines)), COCO)
    found, _ = decode(encode(cells, GRID, COCO.sigma), method)
    back = transform_points(cells_to_crop(found, COCO), affines)
    image_px_per_cell = affines[0, 0, 0] * heatmap.HEATMAP_STRIDE
    assert np.abs(back - point).max() <= (limit + FLOAT) * image_px_per_cell


def test_batched_decoding_equals_a_loop_over_people_and_joints() -> None:
    heatmaps = np.random.default_rng(0).standard_normal((9, 17, *GRID)).astype(np.float32)
    heatmaps[0, 0, 0, 0] = heatmaps[0, 1, 63, 47] = heatmaps[0, 2, 0, 9] = 99  # corners and an edge
    points, scores = decode(heatmaps)
    np.testing.assert_array_equal(np.concatenate((points, scores[..., None]), axis=2), decode_by_loops(heatmaps))


@methods
def test_mirrored_heatmaps_decode_to_the_mirrored_points(method: DecodeMethod) -> None:
    points = np.random.default_rng(0).uniform((3, 3), (44, 60), (1, 17, 2))
    heatmaps = encode(points, GRID, COCO.sigma)
    found, _ = decode(heatmaps, method)
    mirrored, _ = decode(heatmaps[..., ::-1], method)
    np.testing.assert_allclose(47 - mirrored[..., 0], found[..., 0], atol=1e-4)


@methods
def test_a_heatmap_without_a_peak_above_zero_is_decoded_to_its_maximum(method: DecodeMethod) -> None:
    heatmaps = np.full((1, 1, *GRID), -2.0, np.float32)
    heatmaps[0, 0, 20, 10] = -1
    points, scores = decode(heatmaps, method)
    assert np.abs(points - (10, 20)).max() == 0
    assert scores[0, 0] == -1


def test_a_newton_step_never_leaves_the_peak_by_more_than_a_cell() -> None:
    heatmaps = np.random.default_rng(0).uniform(0, 1, (20, 17, *GRID)).astype(np.float32)
    peaks = np.stack(np.divmod(heatmaps.reshape(20, 17, -1).argmax(-1), 48)[::-1], -1)
    for method in ("dark", "udp"):
        assert np.abs(decode(heatmaps, method)[0] - peaks).max() <= heatmap.LONGEST_STEP


def test_the_dark_step_equals_smoothing_the_whole_map() -> None:
    cv2 = pytest.importorskip("cv2")
    points = np.random.default_rng(0).uniform((8, 8), (39, 55), (1, 17, 2))
    heatmaps = encode(points, GRID, 2.3) + np.random.default_rng(1).uniform(0, 0.05, (1, 17, *GRID)).astype(np.float32)
    found, _ = decode(heatmaps, "dark")
    for cells, point in zip(heatmaps[0], found[0], strict=True):
        y, x = np.unravel_index(cells.argmax(), cells.shape)
        log = np.log(cv2.GaussianBlur(cells.astype(np.float64), (11, 11), 2.0, borderType=cv2.BORDER_CONSTANT))
        slope = np.array([log[y, x + 1] - log[y, x - 1], log[y + 1, x] - log[y - 1, x]]) / 2
        xx = (log[y, x + 2] - 2 * log[y, x] + log[y, x - 2]) / 4
        yy = (log[y + 2, x] - 2 * log[y, x] + log[y - 2, x]) / 4
        xy = (log[y + 1, x + 1] - log[y - 1, x + 1] - log[y + 1, x - 1] + log[y - 1, x - 1]) / 4
        step = -np.linalg.solve([[xx, xy], [xy, yy]], slope)
        np.testing.assert_allclose(point, np.array([x, y]) + step, atol=1e-4)  # cells


def test_flip_fusion_of_a_perfect_network_changes_nothing() -> None:
    heatmaps = encode(np.random.default_rng(0).uniform((3, 3), (44, 60), (2, 17, 2)), GRID, COCO.sigma)
    of_mirrored = heatmaps[:, list(COCO17.mirror), :, ::-1]
    np.testing.assert_array_equal(heatmap.fuse_flipped(heatmaps, of_mirrored, COCO17.mirror), heatmaps)


@methods
def test_no_people_decode_to_no_points(method: DecodeMethod) -> None:
    points, scores = decode(np.empty((0, 17, *GRID), np.float32), method)
    assert (points.shape, scores.shape) == ((0, 17, 2), (0, 17))


def test_nan_is_refused_with_its_person_and_joint() -> None:
    heatmaps = np.zeros((2, 17, *GRID), np.float32)
    heatmaps[1, 4, 3, 3] = np.nan
    with pytest.raises(ValueError, match="person 1, joint 4"):
        decode(heatmaps)


def test_an_unknown_method_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="quarter, dark, udp"):
        decode(np.zeros((1, 1, 8, 8), np.float32), "soft")  # pyright: ignore[reportArgumentType]

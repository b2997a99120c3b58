from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lehrnet.pose.heatmap import encode

verify = pytest.importorskip("lehrnet.export.verify")
GRID = (64, 48)


@pytest.fixture
def heatmaps() -> NDArray[np.float32]:
    return encode(np.random.default_rng(0).uniform((8, 8), (39, 55), (4, 17, 2)), GRID, 2.0)


def test_equal_heatmaps_pass_without_near_ties(heatmaps) -> None:
    parity = verify.heatmap_parity("fp32", heatmaps, heatmaps.copy(), "quarter")
    assert (parity.passed, parity.joints, parity.near_ties, parity.drift_px) == (True, 68, 0, 0)


def test_a_shifted_heatmap_fails(heatmaps) -> None:
    parity = verify.heatmap_parity("fp32", heatmaps, np.roll(heatmaps, 1, axis=3), "quarter")
    assert not parity.passed


def test_a_difference_above_a_ten_thousandth_of_the_range_fails(heatmaps) -> None:
    assert verify.heatmap_parity("fp32", heatmaps, heatmaps + 5e-5, "dark").passed
    assert not verify.heatmap_parity("fp32", heatmaps, heatmaps + 5e-4, "dark").passed


def test_two_almost_equal_peaks_are_a_near_tie_and_not_judged() -> None:
    expected = np.zeros((1, 1, *GRID), np.float32)
    expected[0, 0, 10, 10], expected[0, 0, 50, 40] = 1, 1 - 1e-6
    found = expected.copy()
    found[0, 0, 50, 40] += 2e-6
    parity = verify.heatmap_parity("fp32", expected, found, "quarter")
    assert (parity.near_ties, parity.drift_px, parity.passed) == (1, 0, True)
    assert parity.near_tie_drift_px > 100  # 30 and 40 cells of 4 px


def test_a_quarter_offset_that_could_turn_round_is_a_near_tie() -> None:
    heatmaps = np.zeros((1, 1, *GRID), np.float32)
    heatmaps[0, 0, 10, 9:12] = 0.5, 1, 0.5 + 1e-6
    heatmaps[0, 0, 9:12, 10] = 0.7, 1, 0.2
    margin = np.full((1, 1), 1e-5, np.float32)
    assert not verify.settled_joints(heatmaps, margin, "quarter")[0, 0]
    assert verify.settled_joints(heatmaps, margin, "dark")[0, 0]
    assert verify.settled_joints(heatmaps, margin / 100, "quarter")[0, 0]


def test_a_peak_in_the_corner_has_no_offset_that_could_turn() -> None:
    heatmaps = np.zeros((1, 1, *GRID), np.float32)
    heatmaps[0, 0, 0, 0] = 1
    assert verify.settled_joints(heatmaps, np.full((1, 1), 1e-3, np.float32), "quarter")[0, 0]


def test_photographs_come_in_batches_of_1_2_and_7(data_folder, tiny_checkpoint) -> None:
    batches = list(verify.photograph_crops(data_folder, tiny_checkpoint.spec))
    assert [len(batch) for batch in batches] == [1, 1]  # two people have keypoints
    noise = list(verify.random_crops(tiny_checkpoint.spec))
    assert [len(batch) for batch in noise] == [1, 2, 7]


def test_no_crops_prove_nothing(heatmaps) -> None:
    parity = verify.heatmap_parity("fp32", heatmaps, heatmaps, "quarter")
    assert not replace(parity, crops=0).passed

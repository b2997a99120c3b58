import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lehrnet.pose.heatmap import encode
from lehrnet.pose.spec import PoseSpec

verify = pytest.importorskip("lehrnet.export.verify")
parity_module = pytest.importorskip("lehrnet.export.parity")
GRID = (64, 48)


@pytest.fixture
def heatmaps() -> NDArray[np.float32]:
    return encode(np.random.default_rng(0).uniform((8, 8), (39, 55), (4, 17, 2)), GRID, 2.0)


def test_equal_heatmaps_pass_without_near_ties(heatmaps) -> None:
    parity = parity_module.heatmap_parity("fp32", heatmaps, heatmaps.copy(), PoseSpec())
    assert (parity.passed, parity.joints, parity.near_ties, parity.drift_px) == (True, 68, 0, 0)


def test_a_shifted_heatmap_fails(heatmaps) -> None:
    parity = parity_module.heatmap_parity("fp32", heatmaps, np.roll(heatmaps, 1, axis=3), PoseSpec())
    assert not parity.passed


def test_a_difference_above_a_ten_thousandth_of_the_range_fails(heatmaps) -> None:
    assert parity_module.heatmap_parity("fp32", heatmaps, heatmaps + 5e-5, PoseSpec(decode="dark")).passed
    assert not parity_module.heatmap_parity("fp32", heatmaps, heatmaps + 5e-4, PoseSpec(decode="dark")).passed


def test_two_almost_equal_peaks_are_a_near_tie_and_not_judged() -> None:
    expected = np.zeros((1, 1, *GRID), np.float32)
    expected[0, 0, 10, 10], expected[0, 0, 50, 40] = 1, 1 - 1e-6
    found = expected.copy()
    found[0, 0, 50, 40] += 2e-6
    parity = parity_module.heatmap_parity("fp32", expected, found, PoseSpec())
    assert (parity.near_ties, parity.drift_px, parity.passed) == (1, 0, True)
    assert parity.near_tie_drift_px > 100  # 30 and 40 cells of 4 px


def test_a_quarter_offset_that_could_turn_round_is_a_near_tie() -> None:
    heatmaps = np.zeros((1, 1, *GRID), np.float32)
    heatmaps[0, 0, 10, 9:12] = 0.5, 1, 0.5 + 1e-6
    heatmaps[0, 0, 9:12, 10] = 0.7, 1, 0.2
    margin = np.full((1, 1), 1e-5, np.float32)
    assert not parity_module.settled_joints(heatmaps, margin, "quarter")[0, 0]
    assert parity_module.settled_joints(heatmaps, margin, "dark")[0, 0]
    assert parity_module.settled_joints(heatmaps, margin / 100, "quarter")[0, 0]


def test_a_peak_in_the_corner_has_no_offset_that_could_turn() -> None:
    heatmaps = np.zeros((1, 1, *GRID), np.float32)
    heatmaps[0, 0, 0, 0] = 1
    assert parity_module.settled_joints(heatmaps, np.full((1, 1), 1e-3, np.float32), "quarter")[0, 0]


def test_photographs_come_in_batches_of_1_2_and_7(data_folder, tiny_checkpoint) -> None:
    batches = list(verify.photograph_crops(data_folder, tiny_checkpoint.spec))
    assert [len(crops) for crops, _, _ in batches] == [1, 1]  # two people have keypoints
    assert all((keypoints[..., 2] == 2).all() and areas > 0 for _, keypoints, areas in batches)
    noise = list(verify.random_crops(tiny_checkpoint.spec))
    assert [len(crops) for crops, _, _ in noise] == [1, 2, 7]


def test_no_crops_prove_nothing(heatmaps) -> None:
    parity = parity_module.heatmap_parity("fp32", heatmaps, heatmaps, PoseSpec())
    assert not replace(parity, crops=0).passed


class TestRungs:
    @pytest.fixture
    def rung(self, heatmaps):
        """A rung of some precision whose heatmaps are those of the reference, changed."""
        from lehrnet.pose.batches import unlabelled
        from lehrnet.pose.drift import Comparison
        from lehrnet.runtime.bundle import Artefact

        spec = PoseSpec()

        def made(precision: str, change, **measured):
            found = change(heatmaps)
            comparison = Comparison(spec)
            comparison.update(heatmaps, found, unlabelled(np.zeros((4, 3, 256, 192), np.float32), spec))
            artefact = Artefact("x.onnx", "0" * 64, 0, precision=precision, measured=measured)
            return verify.Rung(
                parity_module.heatmap_parity(precision, heatmaps, found, PoseSpec()), comparison.drift(), artefact
            )

        return made

    def test_fp32_must_be_exact_and_fp16_close(self, rung) -> None:
        assert rung("fp32", lambda maps: maps).passed
        assert not rung("fp32", lambda maps: maps * np.float32(1.001)).passed
        assert rung("fp16", lambda maps: maps * np.float32(1.001)).passed
        assert "heatmaps differ by" in rung("fp16", lambda maps: maps * np.float32(1.1)).fault

    def test_int8_is_held_to_the_budget_it_was_chosen_for(self, rung) -> None:
        from lehrnet.calibration.budget import Budget, Int8Choice

        budget = Budget(ap=0.01, oks=0.2)  # without labels, AP is not asked for
        moved = lambda maps: np.roll(maps, 1, axis=3)  # noqa: E731
        far = lambda maps: np.roll(maps, 12, axis=3)  # noqa: E731
        choice = Int8Choice("mse", (), 0.0, budget).facts()
        assert rung("int8", moved, int8=choice).passed
        assert "OKS drops by" in rung("int8", far, int8=choice).fault
        assert rung("int8", lambda maps: maps).passed
        assert not rung("int8", far).passed

    def test_facts_are_json(self, rung) -> None:
        made = rung("int8", lambda maps: maps)
        facts = json.loads(json.dumps(made.facts()))
        written = replace(made.artefact, measured={"parity": facts})
        assert verify.Rung.of(written) == replace(made, artefact=written)
        assert (facts["rung"], facts["passed"], facts["drift"]["oks"]) == ("int8", True, 1)
        assert facts["drift"]["by_joint"]["nose"] == [0, 0]

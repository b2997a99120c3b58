import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lehrnet.parsing import parse
from lehrnet.pose.batches import unlabelled
from lehrnet.pose.drift import SEGMENT, Comparison, Drift
from lehrnet.pose.heatmap import encode
from lehrnet.pose.metrics import oks
from lehrnet.pose.spec import PoseSpec

SPEC = PoseSpec()
PEOPLE = 6


@pytest.fixture
def cells() -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform((10, 10), (37, 53), (PEOPLE, 17, 2)).round()


def maps(cells: NDArray[np.float64]) -> NDArray[np.float32]:
    return encode(cells, (64, 48), 2.0)


def nobody(count: int = PEOPLE):
    return unlabelled(np.zeros((count, 3, 256, 192), np.float32), SPEC)


def compared(expected: NDArray[np.float32], found: NDArray[np.float32], batch=None):
    comparison = Comparison(SPEC)
    comparison.update(expected, found, batch or nobody(len(expected)))
    return comparison.drift()


def test_the_same_heatmaps_do_not_drift(cells) -> None:
    drift = compared(maps(cells), maps(cells))
    assert (drift.oks, drift.median_px, drift.p99_px, drift.moved, drift.heatmap_max) == (1, 0, 0, 0, 0)
    assert (drift.people, drift.joints, drift.ap) == (PEOPLE, PEOPLE * 17, None)


def test_a_cell_is_four_px_and_counts_as_moved(cells) -> None:
    drift = compared(maps(cells), maps(cells + np.array([1, 0])))
    assert (drift.median_px, drift.moved) == (pytest.approx(4), 1)
    assert drift.by_joint["left_knee"] == (pytest.approx(4), pytest.approx(4))


def test_oks_is_that_of_the_metrics_with_the_usual_area(cells) -> None:
    truth = np.concatenate((4 * cells, np.ones((PEOPLE, 17, 1))), 2)
    areas = np.full(PEOPLE, SEGMENT * 256 * 192 / 1.25**2)
    expected = oks(4 * cells + np.array([8, 0]), truth, areas, SPEC.skeleton).mean()
    assert compared(maps(cells), maps(cells + np.array([2, 0]))).oks == pytest.approx(expected, abs=1e-6)


def test_joints_that_the_reference_is_unsure_of_are_not_counted(cells) -> None:
    expected = maps(cells)
    expected[:, 5:] *= 0.1
    found = expected.copy()
    found[:, 5:] = np.roll(found[:, 5:], 10, axis=3)
    drift = compared(expected, found)
    assert (drift.joints, drift.moved, drift.oks) == (5 * PEOPLE, 0, 1)
    assert drift.sure == pytest.approx(5 / 17)
    assert drift.by_joint["left_ankle"] == (None, None)
    assert parse(Drift, json.loads(json.dumps(drift.facts()))) == drift


def test_labels_give_both_networks_an_ap(cells) -> None:
    keypoints = np.concatenate((4 * cells + 1.5, np.full((PEOPLE, 17, 1), 2.0)), 2)
    batch = nobody()[0], keypoints, np.full(PEOPLE, 20_000.0)
    drift = compared(maps(cells), maps(cells + np.array([6, 6])), batch)
    assert drift.reference_ap == pytest.approx(1)
    assert drift.ap is not None
    assert drift.ap_drop == pytest.approx(1 - drift.ap)
    assert drift.ap < 0.9


def test_batches_add_up(cells) -> None:
    expected, found = maps(cells), maps(cells + np.array([1, 1]))
    comparison = Comparison(SPEC)
    for part in (slice(0, 2), slice(2, None)):
        comparison.update(expected[part], found[part], nobody(len(expected[part])))
    together = compared(expected, found)
    assert comparison.drift().heatmap_mean == pytest.approx(together.heatmap_mean)
    assert replace(comparison.drift(), heatmap_mean=0) == replace(together, heatmap_mean=0)


def test_nan_and_nobody_are_refused(cells) -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        compared(maps(cells), maps(cells) * np.float32("nan"))
    with pytest.raises(ValueError, match="nobody was compared"):
        Comparison(SPEC).drift()

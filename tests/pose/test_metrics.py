import json
from pathlib import Path

import numpy as np
import pytest

from lehrnet.pose.coco import read_coco
from lehrnet.pose.data import PoseData
from lehrnet.pose.metrics import COCO_METRICS, coco_metrics, mpii_metrics, oks, oks_nms, pck
from lehrnet.pose.skeleton import COCO17

pytest.importorskip("pycocotools")

THRESHOLDS = np.arange(0.5, 0.951, 0.05)
RECALLS = np.linspace(0, 1, 101)


def results_of(people: PoseData, keypoints: np.ndarray, scores: np.ndarray) -> list[dict]:
    return [
        {
            "image_id": people.image_ids[people.image_of[row]],
            "category_id": 1,
            "keypoints": keypoints[row].ravel().tolist(),
            "score": float(scores[row]),
        }
        for row in range(len(people))
    ]


def ap_by_loops(labels: Path, results: list[dict]) -> float:
    """A second implementation of COCO's AP, written from its definition: no pycocotools, no shortcuts."""
    content = json.loads(labels.read_text())
    matches: list[tuple[float, list[bool], list[bool]]] = []
    positives = 0
    for image in content["images"]:
        truths = [entry for entry in content["annotations"] if entry["image_id"] == image["id"]]
        ignored = [bool(entry.get("iscrowd")) or not entry["num_keypoints"] for entry in truths]
        order = sorted(range(len(truths)), key=lambda index: ignored[index])
        truths, ignored = [truths[index] for index in order], [ignored[index] for index in order]
        positives += ignored.count(False)
        found = sorted((r for r in results if r["image_id"] == image["id"]), key=lambda r: -r["score"])[:20]
        similar = [[similarity(result, truth) for truth in truths] for result in found]
        taken = [[False] * len(truths) for _ in THRESHOLDS]
        for result, row in zip(found, similar, strict=True):
            hits, skips = [], []
            for level, threshold in enumerate(THRESHOLDS):
                best, match = min(threshold, 1 - 1e-10), None
                for index in range(len(truths)):
                    if taken[level][index] and not truths[index].get("iscrowd"):
                        continue
                    if match is not None and not ignored[match] and ignored[index]:
                        break
                    if row[index] >= best:
                        best, match = row[index], index
                if match is not None:
                    taken[level][match] = True
                hits.append(match is not None)
                skips.append(match is not None and ignored[match])
            matches.append((result["score"], hits, skips))
    matches.sort(key=lambda match: -match[0])
    average = []
    for level in range(len(THRESHOLDS)):
        hits = np.array([hit[level] for _, hit, skip in matches if not skip[level]])
        true, false = np.cumsum(hits), np.cumsum(~hits)
        recall, precision = true / positives, true / (true + false + np.spacing(1))
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(recall, RECALLS, side="left")
        average.append(np.append(precision, 0)[places].mean())
    return float(np.mean(average))


def similarity(result: dict, truth: dict) -> float:
    points, labels = np.reshape(result["keypoints"], (17, 3)), np.reshape(truth["keypoints"], (17, 3))
    variances = (2 * np.array(COCO17.sigmas)) ** 2
    if truth["num_keypoints"]:
        seen = labels[:, 2] > 0
        offset = points[seen, :2] - labels[seen, :2]
        variances = variances[seen]
    else:  # a person without labels: how far the points lie outside twice its box
        x, y, width, height = truth["bbox"]
        low, high = np.array([x - width, y - height]), np.array([x + 2 * width, y + 2 * height])
        offset = np.maximum(0, low - points[:, :2]) + np.maximum(0, points[:, :2] - high)
    squares = (offset**2).sum(1)
    return float(np.exp(-squares / variances / (truth["area"] + np.spacing(1)) / 2).mean())


def test_oks_of_a_hand_computed_case() -> None:
    truth = np.zeros((1, 17, 3))
    truth[0, 0], truth[0, 5] = (10, 10, 2), (50, 60, 1)  # nose and left shoulder; the others are not labelled
    points = truth[..., :2].copy()
    points[0, 5] += (3, 4)  # 5 px off: exp(-25 / (2 * 400 * 0.158^2)) = 0.2861 at an area of 400 px^2
    assert oks(points, truth, np.array([400.0]), COCO17)[0] == pytest.approx((1 + 0.28610) / 2, abs=1e-4)


def content_of(labels: Path) -> dict:
    return json.loads(labels.read_text())


def test_oks_without_labels_is_undefined() -> None:
    assert np.isnan(oks(np.zeros((1, 17, 2)), np.zeros((1, 17, 3)), np.ones(1), COCO17)[0])


def test_ground_truth_scored_against_itself_is_perfect(pose_samples: Path) -> None:
    people = read_coco(pose_samples).with_keypoints()
    results = results_of(people, people.keypoints, np.ones(len(people)))
    figures = coco_metrics(content_of(people.labels), results, COCO17)
    assert list(figures) == list(COCO_METRICS)
    assert figures == dict.fromkeys(COCO_METRICS, 1.0)


@pytest.mark.parametrize("noise_px", [2, 6, 15])
def test_a_second_implementation_agrees(noise_px: float, pose_samples: Path) -> None:
    people, rng = read_coco(pose_samples), np.random.default_rng(0)
    noisy = people.keypoints + rng.normal(0, noise_px, people.keypoints.shape) * [1, 1, 0]
    results = results_of(people, noisy, rng.uniform(0, 1, len(people)))
    ap = coco_metrics(content_of(people.labels), results, COCO17)["AP"]
    assert 0.02 < ap < 0.98
    assert ap_by_loops(people.labels, results) == pytest.approx(ap, abs=1e-6)


def test_no_results_score_nothing(data_folder: Path) -> None:
    assert coco_metrics(content_of(data_folder / "person_keypoints.json"), [], COCO17)["AP"] == 0


def test_of_two_equal_people_the_better_scored_stays() -> None:
    person = np.random.default_rng(0).uniform(0, 100, (17, 3))
    three = np.stack((person, person + 0.5, person + 60))
    np.testing.assert_array_equal(oks_nms(three, np.array([0.3, 0.8, 0.5]), np.full(3, 1e4), COCO17), [1, 2])
    assert len(oks_nms(three[:0], np.zeros(0), np.zeros(0), COCO17)) == 0


def test_pckh_counts_labelled_joints_within_half_a_head() -> None:
    truth = np.zeros((2, 16, 3))
    truth[:, :2, 2] = 2  # right ankle and knee
    points = np.zeros((2, 16, 2))
    points[0, 0], points[1, 0], points[1, 1] = (5, 0), (5.1, 0), (0, 0.9)
    share = pck(points, truth, np.array([10.0, 10.0]), 0.5)
    assert share[:2].tolist() == [0.5, 1]
    assert np.isnan(share[2:]).all()


def test_mpii_leaves_pelvis_and_thorax_out_of_the_mean() -> None:
    truth = np.zeros((1, 16, 3))
    truth[:, :, 2] = 2
    points = np.zeros((1, 16, 2))
    points[0, [6, 7]] = 99
    figures = mpii_metrics(points, truth, np.ones(1))
    assert figures == {**dict.fromkeys(("head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"), 1.0)} | {
        "mean": 1.0,
        "mean@0.1": 1.0,
    }

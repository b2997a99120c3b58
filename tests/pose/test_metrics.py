import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lehrnet.pose.coco import read_coco
from lehrnet.pose.crop import invert_affines, transform_points
from lehrnet.pose.data import PoseData
from lehrnet.pose.evaluate import evaluate
from lehrnet.pose.frame import crop_to_cells, person_affines
from lehrnet.pose.heatmap import encode
from lehrnet.pose.metrics import COCO_METRICS, coco_metrics, confident_score, mpii_metrics, oks, oks_nms, pck
from lehrnet.pose.skeleton import COCO17
from lehrnet.pose.spec import COCO

pytest.importorskip("pycocotools")

THRESHOLDS = np.arange(0.5, 0.951, 0.05)
RECALLS = np.linspace(0, 1, 101)
AREAS = ((0, 1e10), (32**2, 96**2), (96**2, 1e10))
"""Everyone, medium and large, px^2 (cocodataset.org, keypoint evaluation)."""


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


def figures_by_loops(content: dict, results: list[dict]) -> dict[str, float]:
    """A second implementation of COCO's figures, written from their definition: no pycocotools, no shortcuts."""
    everyone, medium, large = ((*pair_by_loops(content, results, *areas),) for areas in AREAS)
    by_level, recalls = everyone
    ap, ar = ([np.mean(level), level[0], level[5]] for level in (by_level, recalls))
    ap, ar = ([*figures, np.mean(medium[at]), np.mean(large[at])] for at, figures in enumerate((ap, ar)))
    names = [f"{what}{of}" for what in ("AP", "AR") for of in ("", "50", "75", "(M)", "(L)")]
    return dict(zip(names, map(float, (*ap, *ar)), strict=True))


def pair_by_loops(
    content: dict, results: list[dict], smallest: float, largest: float
) -> tuple[list[float], list[float]]:
    """Average precision and recall at each of THRESHOLDS, of people whose area lies in a range; NaN for nobody."""
    matches: list[tuple[float, list[bool], list[bool]]] = []
    positives = 0
    for image in content["images"]:
        truths = [entry for entry in content["annotations"] if entry["image_id"] == image["id"]]
        ignored = [
            bool(entry.get("iscrowd")) or not entry["num_keypoints"] or not smallest <= entry["area"] <= largest
            for entry in truths
        ]
        order = sorted(range(len(truths)), key=lambda index: ignored[index])
        truths, ignored = [truths[index] for index in order], [ignored[index] for index in order]
        positives += ignored.count(False)
        found = sorted((r for r in results if r["image_id"] == image["id"]), key=lambda r: -r["score"])[:20]
        similar = [[similarity(result, truth) for truth in truths] for result in found]
        taken = [[False] * len(truths) for _ in THRESHOLDS]
        for result, row in zip(found, similar, strict=True):
            width, height = np.ptp(np.reshape(result["keypoints"], (17, 3))[:, :2], axis=0)
            strange = not smallest <= width * height <= largest
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
                skips.append(strange if match is None else ignored[match])
            matches.append((result["score"], hits, skips))
    matches.sort(key=lambda match: -match[0])
    precisions, recalls = [], []
    for level in range(len(THRESHOLDS)):
        hits = np.array([hit[level] for _, hit, skip in matches if not skip[level]], bool)
        true, false = np.cumsum(hits), np.cumsum(~hits)
        recall, precision = true / (positives or np.nan), true / (true + false + np.spacing(1))
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(recall, RECALLS, side="left")
        precisions.append(np.append(precision, 0)[places].mean() if positives else np.nan)
        recalls.append(max(recall, default=0) if positives else np.nan)
    return precisions, recalls


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


class TestASecondImplementationAgrees:
    """In all ten figures, to 1e-6."""

    @pytest.fixture(params=["drawn_folder", "pose_samples"])
    def people(self, request: pytest.FixtureRequest) -> PoseData:
        """Of drawn figures everywhere, of photographs where they are at hand."""
        return read_coco(request.getfixturevalue(request.param))

    @pytest.mark.parametrize("noise_px", [2, 6, 15])
    def test_on_everyone_with_noise(self, noise_px: float, people: PoseData) -> None:
        rng = np.random.default_rng(0)
        noisy = people.keypoints + rng.normal(0, noise_px, people.keypoints.shape) * [1, 1, 0]
        results = results_of(people, noisy, rng.uniform(0, 1, len(people)))
        found = coco_metrics(content_of(people.labels), results, COCO17)
        assert 0.02 < found["AP"] < 0.98
        assert figures_by_loops(content_of(people.labels), results) == pytest.approx(found, abs=1e-6, nan_ok=True)

    @pytest.mark.parametrize("seed", range(4))
    def test_on_drawn_people_missed_doubled_dreamt_up_unlabelled_and_in_crowds(
        self, seed: int, drawn_folder: Path
    ) -> None:
        people, rng = read_coco(drawn_folder), np.random.default_rng(seed)
        content, results = hard_case(people, rng)
        found = coco_metrics(content, results, COCO17)
        assert len(set(found.values())) >= 9  # hardly two alike
        assert all(0.05 < figure < 0.95 for figure in found.values())
        assert figures_by_loops(content, results) == pytest.approx(found, abs=1e-6)

    def test_on_what_evaluate_makes_of_a_label_file(self, drawn_folder: Path, tmp_path: Path) -> None:
        """From the file by crops and heatmaps to its figures, crowds and people without labels among them."""
        content, _ = hard_case(read_coco(drawn_folder), np.random.default_rng(0))
        (tmp_path / "images").symlink_to(drawn_folder / "images")
        (tmp_path / "person_keypoints.json").write_text(json.dumps(content))
        asked = read_coco(tmp_path)
        asked = asked.take(np.argsort(asked.image_of, kind="stable"))  # as `evaluate` asks for them
        drawn = read_coco(drawn_folder)
        rows = [drawn.person_ids.tolist().index(person) for person in asked.person_ids]
        affines = invert_affines(person_affines(asked.boxes, COCO))
        cells = crop_to_cells(transform_points(drawn.keypoints[rows, :, :2], affines), COCO)
        cells += np.random.default_rng(0).normal(0, 1, cells.shape)
        heatmaps = iter(encode(cells, (64, 48), 2.0))
        found = evaluate(lambda crops: np.stack([next(heatmaps) for _ in crops]), tmp_path, COCO)
        assert 0.2 < found.figures["AP"] < 0.8
        assert figures_by_loops(content, found.results) == pytest.approx(found.figures, abs=1e-6)


def hard_case(people: PoseData, rng: np.random.Generator) -> tuple[dict, list[dict]]:
    """Labels and results in which every rule of COCO's matching decides about somebody."""
    content = content_of(people.labels)
    for number, entry in enumerate(content["annotations"]):
        if number % 5 == 1:
            entry["iscrowd"] = 1
        if number % 7 == 2:  # nobody labelled this person's joints
            entry.update(keypoints=[0] * 51, num_keypoints=0)
        if number % 3 == 0:  # medium, or small: a drawn person is large
            entry["area"] = min(entry["area"], 900.0 if number % 4 == 3 else 9000.0)
    rows = np.flatnonzero(rng.uniform(size=len(people)) > 0.15)  # the others are missed
    rows = np.concatenate((rows, rows[::2], rows[::4]))  # and some are found twice and three times
    seen = people.take(rows)
    spread = rng.choice([1, 4, 8, 60], len(rows))[:, None, None]  # px; 60: dreamt up
    noisy = seen.keypoints + rng.normal(0, 1, seen.keypoints.shape) * spread * [1, 1, 0]
    results = results_of(seen, noisy, rng.uniform(0, 1, len(rows)).round(1))  # many scores are equal
    crowded = [{**result, "score": 0.01} for result in results if result["image_id"] == results[0]["image_id"]]
    return content, [*results, *crowded * 10]  # of one image more than the 20 that count


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


class TestConfidentScore:
    """Five people of one joint each; the others are not labelled."""

    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])

    def score_for(self, off_px: Sequence[float], *precisions: float) -> float | None:
        truth = np.zeros((5, 17, 3))
        truth[:, 5] = (50, 50, 2)
        found = np.zeros((5, 17, 3))
        found[:, 5, :2] = 50 + np.array(off_px)[:, None]
        found[:, 5, 2] = self.scores
        found[:, 9, 2] = 5.0  # high, but without a label it says nothing
        return confident_score(found, truth, np.full(5, 100.0**2), COCO17, precisions or (0.75,))

    def test_it_is_the_lowest_score_from_which_on_enough_are_right(self) -> None:
        assert self.score_for([0, 0, 90, 0, 90]) == 0.6  # 1, 2 of 2, 2 of 3, 3 of 4, 3 of 5
        assert self.score_for([0, 0, 0, 0, 0]) == 0.5

    def test_a_precision_at_which_less_than_half_would_be_drawn_gives_way_to_the_next(self) -> None:
        assert self.score_for([0, 0, 90, 0, 90], 0.9, 0.75) == 0.6
        assert self.score_for([0, 0, 90, 0, 90], 0.9) is None

    def test_without_enough_that_are_right_there_is_none(self) -> None:
        assert self.score_for([90] * 5) is None

    def test_a_joint_is_right_within_half_its_similarity(self) -> None:
        limit = math.sqrt(2 * math.log(2)) * 2 * COCO17.sigmas[5] * 100 / math.sqrt(2)  # along x and along y
        assert self.score_for([limit * 0.99] * 5) == 0.5
        assert self.score_for([limit * 1.01] * 5) is None

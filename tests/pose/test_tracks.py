import itertools
from pathlib import Path

import numpy as np
import pytest

from lehrnet.pose.moving import RATE, people_at, scene, walkers, write_moving
from lehrnet.pose.overlap import iou
from lehrnet.pose.tracks import TracksFrame, best_pairs, read_tracks, track_metrics, write_tracks

BOXES = np.array([[0.0, 0, 10, 20], [100, 0, 110, 20]])


def frames(*ids: tuple[int, ...]) -> list[TracksFrame]:
    """A frame for each tuple of identities, whose boxes stand still."""
    return [
        TracksFrame(number, number / 30, np.array(each, np.int64), BOXES[: len(each)])
        for number, each in enumerate(ids)
    ]


def test_the_truth_agrees_with_itself() -> None:
    figures = track_metrics(frames((1, 2), (1, 2)), frames((7, 3), (7, 3)))
    assert (figures["idf1"], figures["mota"], figures["switches"]) == (1, 1, 0)


def test_a_switch_costs_the_shorter_part() -> None:
    figures = track_metrics(frames(*[(1,)] * 10), frames(*[(1,)] * 6, *[(2,)] * 4))
    assert figures["idf1"] == pytest.approx(0.6)
    assert (figures["switches"], figures["mota"]) == (1, pytest.approx(0.9))


def test_misses_and_false_people_are_counted() -> None:
    figures = track_metrics(frames((1, 2), (1,)), frames((1,), (1, 2)))
    assert (figures["misses"], figures["false"]) == (1, 1)


def test_pairs_are_those_of_the_largest_sum() -> None:
    rng = np.random.default_rng(0)
    for rows, columns in ((1, 1), (3, 3), (2, 5), (5, 2), (4, 6)):
        weights = rng.random((rows, columns))
        pairs = best_pairs(weights)
        few, many = sorted((rows, columns))
        best = max(
            sum((weights if rows <= columns else weights.T)[place, each] for place, each in enumerate(chosen))
            for chosen in itertools.permutations(range(many), few)
        )
        assert sum(weights[pair] for pair in pairs) == pytest.approx(best)


def test_tracks_survive_the_file(tmp_path: Path) -> None:
    write_tracks(tmp_path / "t.json", frames((1, 2), (2,)))
    found = read_tracks(tmp_path / "t.json")
    assert [each.ids.tolist() for each in found] == [[1, 2], [2]]
    np.testing.assert_allclose(found[0].boxes, BOXES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected lehrnet-tracks-1"),
        ('{"format": "lehrnet-tracks-1", "frames": [{"frame": 0}]}', "entry 0 has no frame and people with ids"),
        (
            '{"format": "lehrnet-tracks-1", "frames": [{"frame": 0, "people": [{"id": 1, "bbox": [0, 0, 0, 1]}]}]}',
            "frame 0: box 0",
        ),
    ],
)
def test_bad_tracks_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_tracks(tmp_path / "t.json")


def test_figures_cross_leave_and_come_back() -> None:
    figures = walkers(4)
    seen = [set(people_at(figures, frame, frame / RATE)[0].ids.tolist()) for frame in range(600)]
    places = np.array([[figure.points(frame / RATE)[:, 0].mean() for figure in figures] for frame in range(600)])
    assert (np.diff(np.sign(places[:, 0] - places[:, 1])) != 0).sum() >= 2
    away = [3 not in each for each in seen]
    assert any(away)
    assert not away[-1] or not away[0]


def test_the_same_seed_draws_the_same_video(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert write_moving(tmp_path / name, 2, people=2, seed=3) == 4
    first, second = (sorted((tmp_path / name).rglob("*.*")) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert len(read_tracks(tmp_path / "a" / "tracks.json")) == 2
    assert scene().shape == (720, 1280, 3)


def test_the_metrics_are_those_of_motmetrics() -> None:
    motmetrics = pytest.importorskip("motmetrics", reason="motmetrics is not installed: pip install 'lehrnet[metrics]'")
    rng = np.random.default_rng(0)
    truth, found, seen = [], [], motmetrics.MOTAccumulator(auto_id=True)
    for frame in range(60):
        centres = np.array([(100 + 6 * frame, 200), (460 - 6 * frame, 210), (300, 400.0)])
        boxes = np.concatenate((centres - 40, centres + 40), axis=1)
        guess = boxes + rng.normal(0, 6, boxes.shape)
        ids = np.array([1, 2, 3]) if frame < 30 else np.array([2, 1, 3 + (frame > 45)])
        kept = rng.random(3) > 0.2
        truth.append(TracksFrame(frame, frame / 30, np.array([1, 2, 3]), boxes))
        found.append(TracksFrame(frame, frame / 30, ids[kept], guess[kept]))
        distances = 1 - np.array(iou(boxes, guess[kept]))
        seen.update([1, 2, 3], ids[kept], np.where(distances <= 0.5, distances, np.nan))
    theirs = motmetrics.metrics.create().compute(seen, metrics=["idf1", "mota", "num_switches"], name="a").iloc[0]
    ours = track_metrics(truth, found)
    assert ours["idf1"] == pytest.approx(theirs["idf1"], abs=1e-9)
    assert ours["mota"] == pytest.approx(theirs["mota"], abs=1e-9)
    assert ours["switches"] == theirs["num_switches"]

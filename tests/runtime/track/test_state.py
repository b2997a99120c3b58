import numpy as np
import pytest

from lehrnet.pose.skeleton import COCO17
from lehrnet.runtime import Poses
from lehrnet.runtime.track import SmoothOptions, TrackerOptions, TrackState
from lehrnet.runtime.track.matching import boxes_of, match_greedily, oks_between
from lehrnet.runtime.track.motion import Motion
from lehrnet.runtime.track.search import windows

BODY = np.random.default_rng(0).uniform((0, 0), (60, 160), (17, 2))


def person(x: float, y: float = 100.0, score: float = 0.8) -> np.ndarray:
    """Joints (17, 3) of a person of some 60 x 160 px."""
    return np.column_stack((BODY + np.array((x, y)), np.full(17, score)))


def step(state: TrackState, time_s: float, people: list[np.ndarray], detect: bool = True) -> Poses:
    """One frame: every person is detected, and whoever stands nearest to a box is found in it."""
    boxes = boxes_of(np.stack(people)) if people else np.empty((0, 4))
    proposals = state.propose(time_s, boxes if detect else None)
    middles = (proposals.boxes[:, :2] + proposals.boxes[:, 2:]) / 2
    centres = np.array([each[:, :2].mean(0) for each in people]).reshape(-1, 2)
    found = np.empty((len(proposals), 17, 3))
    for row, middle in enumerate(middles):
        far = np.linalg.norm(centres - middle, axis=1) if people else np.array([np.inf])
        found[row] = people[int(far.argmin())] if far.min() < 100 else person(0, 0, 0.05)
    return state.accept(found, proposals)


@pytest.fixture
def state() -> TrackState:
    return TrackState(COCO17)


def test_people_of_the_first_frame_are_numbered_at_once(state) -> None:
    poses = step(state, 0, [person(100), person(400)])
    assert poses.ids is not None
    assert poses.ids.tolist() == [1, 2]
    assert poses.smoothed is None


def test_somebody_who_appears_later_is_reported_after_the_birth_time(state) -> None:
    seen = [len(step(state, frame / 30, [person(100), person(400)] if frame else [person(100)])) for frame in range(9)]
    assert seen == [1, 1, 1, 1, 1, 1, 2, 2, 2]  # 0.15 s after frame 1


def test_nobody_is_born_without_a_detection(state) -> None:
    assert len(step(state, 0, [person(100)], detect=False)) == 0


def test_between_detections_the_box_comes_from_the_keypoints(state) -> None:
    for frame in range(30):
        poses = step(state, frame / 30, [person(100 + 5 * frame)], detect=frame == 0)
        assert poses.ids is not None
        assert poses.ids.tolist() == [1]


@pytest.mark.parametrize(("gap_s", "identity"), [(1.5, 1), (2.5, 2)])
def test_a_track_ends_after_seconds_not_frames(state, gap_s: float, identity: int) -> None:
    step(state, 0, [person(100)])
    for time_s in np.linspace(0.1, gap_s - 0.1, 5 if gap_s < 2 else 50):
        step(state, float(time_s), [])
    poses = step(state, gap_s, [person(110)])
    for wait in range(1, 8):
        poses = step(state, gap_s + wait / 30, [person(110)])
    assert poses.ids is not None
    assert poses.ids.tolist() == [identity]


def test_dropped_frames_leave_the_prediction_as_it_was() -> None:
    whole = Motion(np.array((0.0, 0.0)), np.array((60.0, 10.0)), np.eye(2))
    for slowing in (None, 0.5):
        at_once = whole.predicted(0.9, 2.0, slowing)
        in_steps = whole.predicted(0.1, 2.0, slowing).predicted(0.3, 2.0, slowing).predicted(0.5, 2.0, slowing)
        np.testing.assert_allclose(in_steps.place, at_once.place, rtol=1e-12)
        np.testing.assert_allclose(in_steps.speed, at_once.speed, rtol=1e-12)
    np.testing.assert_allclose(
        whole.predicted(0.4, 2.0).predicted(0.5, 2.0).covariance, whole.predicted(0.9, 2.0).covariance, rtol=1e-12
    )


def test_the_filter_learns_a_constant_speed() -> None:
    truth = Motion.at(np.zeros(2), 0.03)
    for frame in range(1, 61):
        truth = truth.predicted(1 / 30, 1.0).updated(np.array((2.0, -1.0)) * frame, 0.03)
    np.testing.assert_allclose(truth.speed, (60, -30), rtol=0.02)  # px a second


def test_time_that_runs_backwards_is_refused_until_a_reset(state) -> None:
    step(state, 5.0, [person(100)])
    with pytest.raises(ValueError, match=r"a frame at 1.000 s follows one at 5.000 s; time must not run backwards"):
        state.propose(1.0)
    state.reset()
    poses = step(state, 1.0, [person(100)])
    assert poses.ids is not None
    assert poses.ids.tolist() == [1]


@pytest.mark.parametrize("time_s", [np.nan, np.inf])
def test_a_time_that_is_none_is_refused(state, time_s: float) -> None:
    with pytest.raises(ValueError, match=f"a frame's time is {time_s}, expected seconds"):
        state.propose(time_s)


def test_whoever_would_have_left_all_images_is_forgotten(state) -> None:
    """A person who walks, then no frame for ten days."""
    for frame in range(10):
        step(state, frame / 30, [person(100 + 10 * frame)])
    assert len(state.propose(864_000.0)) == 0
    assert len(step(state, 864_000.1, [person(100)])) == 0  # as everybody who comes later: not believed at once


def test_lost_people_are_few_where_many_come_and_go_at_one_time() -> None:
    state = TrackState(COCO17, TrackerOptions(max_people=2, birth_s=0, hidden_birth_s=0))
    for place in range(20):
        step(state, 1.0, [person(500 * place)])
    assert [each.identity for each in state.people] == list(range(1, 9))  # equally old: the newer ones go


def test_two_frames_of_one_time_are_taken(state) -> None:
    step(state, 1.0, [person(100)])
    assert len(step(state, 1.0, [person(101)])) == 1


def test_of_two_boxes_on_one_person_one_is_left(state) -> None:
    poses = [person(100), person(103)]
    assert len(step(state, 0, poses)) == 1


def test_a_third_person_between_two_is_not_believed_at_once(state) -> None:
    people = [person(100), person(150)]
    step(state, 0, people)
    between = np.column_stack((BODY * 0.6 + np.array((115, 130)), np.full(17, 0.6)))
    counts = [len(step(state, frame / 30, [*people, between])) for frame in range(1, 20)]
    assert set(counts) == {2}


def test_no_more_people_than_allowed() -> None:
    state = TrackState(COCO17, TrackerOptions(max_people=2))
    assert len(step(state, 0, [person(100 * each) for each in range(6)])) == 2


def test_low_scores_count_by_the_track_s_own(state) -> None:
    counts = [len(step(state, frame / 30, [person(100, score=0.3)], frame == 0)) for frame in range(20)]
    assert counts == [1] * 20  # a weak network: 0.3 at its best
    assert len(step(state, 21 / 30, [person(100, score=0.19)], detect=False)) == 0


def test_scores_of_nothing_are_not_a_person(state) -> None:
    assert len(step(state, 0, [person(100, score=0.1)])) == 0


def test_raw_joints_stand_beside_smoothed_ones() -> None:
    state, rng = TrackState(COCO17, TrackerOptions(smooth=SmoothOptions())), np.random.default_rng(0)
    raw, smooth = [], []
    for frame in range(120):
        shaken = person(100) + np.column_stack((rng.normal(0, 2, (17, 2)), np.zeros(17)))
        poses = step(state, frame / 30, [shaken])
        assert poses.smoothed is not None
        np.testing.assert_allclose(poses.xy[0], shaken[:, :2], atol=1e-3)
        raw.append(poses.xy[0])
        smooth.append(poses.smoothed[0])
        assert poses.visible.all()
    jitter = [float(np.abs(np.diff(np.stack(each[30:]), axis=0)).mean()) for each in (raw, smooth)]
    assert jitter[1] < 0.5 * jitter[0]  # px a frame


def test_smoothing_goes_by_seconds_not_frames() -> None:
    """A joint that jumps: after the same time it is as near, whether two of three frames were dropped or not."""
    ends = []
    for rate in (60, 20):
        state = TrackState(COCO17, TrackerOptions(smooth=SmoothOptions(beta=0.0)))
        poses = step(state, 0, [person(100)])
        for frame in range(1, rate // 2 + 1):
            poses = step(state, frame / rate, [person(110)])
        assert poses.smoothed is not None
        ends.append(float((poses.smoothed[0] - poses.xy[0])[:, 0].mean()))
    assert ends[0] == pytest.approx(ends[1], abs=0.3)  # px of a jump of 10


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="death_s is 0"):
        TrackerOptions(death_s=0)
    with pytest.raises(ValueError, match="match_iou is 1.5, expected at most 1"):
        TrackerOptions(match_iou=1.5)
    with pytest.raises(ValueError, match="positive cutoffs"):
        SmoothOptions(min_cutoff_hz=0)


def test_similarity_is_one_for_the_same_pose_and_falls_with_distance() -> None:
    people = np.stack([person(0), person(10), person(300)])
    alike = oks_between(people, people, COCO17)
    np.testing.assert_allclose(np.diagonal(alike), 1)
    assert alike[0, 1] > alike[0, 2]
    np.testing.assert_allclose(alike, alike.T)


def test_the_surest_joint_makes_a_box_even_below_zero() -> None:
    joints = np.column_stack((BODY, np.full(17, -0.5)))
    joints[3, 2] = -0.4
    np.testing.assert_allclose(boxes_of(joints[None])[0], [*(BODY[3] - 1), *(BODY[3] + 1)])


def test_windows_of_a_panorama_are_not_without_number() -> None:
    for width, height in ((65_536, 1), (1, 65_536), (1920, 1080)):
        boxes = windows(width, height)
        assert len(boxes) <= 705
        assert boxes[1:, 0].min() == boxes[1:, 1].min() == 0
        np.testing.assert_allclose(boxes[1:, 2:].max(0), (width, height))


def test_greedy_matching_takes_the_best_first_and_each_once() -> None:
    assert match_greedily(np.array([[0.9, 0.8], [0.85, -np.inf]])) == [(0, 0)]
    assert match_greedily(np.array([[0.9, 0.8], [0.85, 0.4]])) == [(0, 0), (1, 1)]
    assert match_greedily(np.empty((0, 3))) == []

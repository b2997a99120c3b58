"""The tracks of one stream: which boxes to look at, and who the poses found there are.

A frame takes two calls, between which the caller runs the network: `propose` and `accept`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...pose.crop import FARTHEST
from ...pose.overlap import Boxes, covered, iou, nms
from ...pose.skeleton import Skeleton
from ..estimator import Poses
from .matching import Points, boxes_of, match_greedily, oks_between, sizes_of
from .options import MOST_TRACKS, TrackerOptions
from .person import Person, centre_of

NOBODY = -1
VISIBLE, DETECTION, MISSING, SECOND = 2, 1, 0, -1
"""Ranks of boxes and poses: of two that are alike, the higher one stays. SECOND is a track's other box."""
LOST, UNKNOWN, UNSUPPORTED = 0.1, 0.2, 0.1
"""Taken from the similarity with a track that was not seen in the last frame, with one that has no identity yet, and of
a pose that no detection supports."""


@dataclass(frozen=True)
class Proposals:
    """Boxes for the network."""

    boxes: Boxes
    """(N, 4) xyxy, image px."""
    owners: NDArray[np.intp]
    """(N,) row of the track in its stream that the box belongs to, or NOBODY."""
    detected: NDArray[np.bool_]
    """(N,) whether the box is a detection, or that of a track which a detection supports."""
    second: NDArray[np.bool_]
    """(N,) whether it is a track's expected box, beside its detection."""

    def __len__(self) -> int:
        return len(self.boxes)


class TrackState:
    """The people of one stream, with their identities. One thread at a time; several streams share nothing."""

    def __init__(self, skeleton: Skeleton, options: TrackerOptions | None = None) -> None:
        self.options = options or TrackerOptions()
        self._skeleton = skeleton
        self.reset()

    def reset(self) -> None:
        """Forget everybody; identities start at 1 again."""
        self.people: list[Person] = []
        self._time_s: float | None = None
        self._detecting = self._first = False
        self._next = 1

    @property
    def lost(self) -> bool:
        """Whether somebody, or everybody, was not found in the last frame, so that a detection would help."""
        return not self.people or not all(person.visible for person in self.people)

    def propose(
        self, time_s: float, boxes: Boxes | None = None, scores: NDArray[np.floating] | None = None
    ) -> Proposals:
        """Boxes to look at in the frame of `time_s`.

        Args:
            time_s: seconds of the frame, on any clock that does not run backwards.
            boxes: (N, 4) xyxy, image px, of a detector; None: it did not run.
            scores: (N,) of the detector; None: alike.

        Raises:
            ValueError: the time is none, or before that of the last frame.
        """
        self._advance(time_s)
        self._detecting = boxes is not None
        found = np.empty((0, 4)) if boxes is None else np.asarray(boxes, np.float64).reshape(-1, 4)
        worth = np.ones(len(found)) if scores is None else np.asarray(scores, np.float64)
        kept = nms(found, worth, self.options.duplicate_iou)
        found, worth = found[kept], worth[kept]
        owners = self._owners_of(found)
        return self._chosen(found, worth, owners)

    def _advance(self, time_s: float) -> None:
        """Move everybody to where they are expected; whoever is expected beyond all images is forgotten."""
        if not np.isfinite(time_s):
            raise ValueError(f"a frame's time is {time_s}, expected seconds")
        if self._time_s is not None and time_s < self._time_s:
            raise ValueError(
                f"a frame at {time_s:.3f} s follows one at {self._time_s:.3f} s; time must not run backwards: "
                "give the frames in order, or reset the tracker where the stream starts again"
            )
        seconds = 0.0 if self._time_s is None else time_s - self._time_s
        self._first, self._time_s = self._time_s is None, time_s
        for person in self.people:
            person.advance(seconds, self.options)
        self.people = [person for person in self.people if (np.abs(person.box) <= FARTHEST).all()]

    def _owners_of(self, found: Boxes) -> NDArray[np.intp]:
        """(N,) row of the track that each detection (N, 4) belongs to, or NOBODY."""
        owners = np.full(len(found), NOBODY, np.intp)
        if self.people and len(found):
            alike = iou(found, np.stack([person.box for person in self.people]))
            enough = alike >= self.options.match_iou
            for detection, row in match_greedily(np.where(enough, alike - self._doubts(), -np.inf)):
                owners[detection] = row
        return owners

    def _doubts(self) -> NDArray[np.float64]:
        """(M,) what is taken from the similarity with each track: tracks that were just seen are believed first."""
        return np.array([0.0 if person.sure else LOST if person.identity else UNKNOWN for person in self.people])

    def _chosen(self, found: Boxes, worth: NDArray[np.float64], owners: NDArray[np.intp]) -> Proposals:
        """Detections and the boxes of tracks, without duplicates, at most `max_people`.

        A track whose detection differs much from what was expected has both boxes looked at: detectors take two people
        who embrace for one.
        """
        everybody, given = np.arange(len(self.people)), len(found)
        supported = np.isin(everybody, owners)
        boxes = np.concatenate((found, *(person.box[None] for person in self.people)))
        owners = np.concatenate((owners, everybody))
        detected = np.concatenate((np.ones(given, bool), supported))
        seen = np.array([owner != NOBODY and self.people[owner].sure for owner in owners.tolist()], bool)
        rank = np.where(seen, VISIBLE, np.where(detected, DETECTION, MISSING))
        second = np.concatenate((np.zeros(given, bool), supported))
        rank = np.where(second, SECOND, rank)
        order = rank + np.concatenate((worth, np.zeros(len(everybody)))).clip(0, 1) / 2
        kept = nms(boxes, order, self.options.duplicate_iou)[: self.options.max_people]
        return Proposals(boxes[kept], owners[kept], detected[kept], second[kept])

    def accept(self, points: NDArray[np.floating], proposals: Proposals) -> Poses:
        """Poses (N, K, 3) of the proposals' boxes, x, y in image px and score: those that count, with identities.

        New tracks begin only at detections. A person is reported once their track is `birth_s` old.
        """
        assert self._time_s is not None  # `propose` came before
        found = np.asarray(points, np.float64)
        kept = self._without_duplicates(found, proposals)
        pairs = self._matched(found[kept], proposals.owners[kept], proposals.detected[kept])
        for person in self.people:
            person.visible = False
        for pose, row in pairs:
            place, person = kept[pose], self.people[row]
            person.found(found[place], self._time_s, bool(proposals.detected[place]), self.options)
            person.crop = proposals.boxes[place]
        taken = {pose for pose, _ in pairs}
        met = {row for _, row in pairs}
        for place in (place for pose, place in enumerate(kept.tolist()) if pose not in taken):
            owner = int(proposals.owners[place])
            if proposals.detected[place] and owner not in met:  # NOBODY is never met
                born = Person.born(found[place], proposals.boxes[place], self._time_s, self.options)
                born.hidden = self._is_hidden(proposals.boxes[place])
                self.people.append(born)
        self._confirm()
        self._bury()
        return self._reported()

    def _is_hidden(self, box: NDArray[np.float64]) -> bool:
        """Whether a box (4,) lies mostly in that of a known person."""
        known = [person.points for person in self.people if person.sure]
        return bool(known) and bool((covered(box, boxes_of(np.stack(known))) >= self.options.hidden_share).any())

    def _without_duplicates(self, found: Points, proposals: Proposals) -> NDArray[np.intp]:
        """Rows (n,) of the poses that count: sure enough, and each person once."""
        scores, options = found[..., 2].mean(1), self.options
        rank, worth = np.empty(len(found)), scores.copy()
        for row, owner in enumerate(proposals.owners.tolist()):
            person = None if owner == NOBODY else self.people[owner]
            rank[row] = VISIBLE if person and person.sure else DETECTION if proposals.detected[row] else MISSING
            if proposals.second[row]:
                rank[row] = SECOND
            if person is not None:
                worth[row] = oks_between(found[row : row + 1], person.points[None], self._skeleton)[0, 0]
            if person is not None and not proposals.detected[row] and not self._stands(person, scores[row]):
                worth[row] = -1
        order = np.lexsort((-worth, -rank))
        left = order[(worth[order] >= 0) & (scores[order] >= options.min_score)]
        kept: list[int] = []
        for row in left.tolist():
            alike = oks_between(found[[row]], found[kept], self._skeleton)[0] if kept else np.empty(0)
            if not (alike > options.duplicate_oks).any():
                kept.append(row)
        return np.array(kept, np.intp)

    def _stands(self, person: Person, score: float) -> bool:
        """Whether a pose with this score counts for a track that no detection supports in this frame."""
        assert self._time_s is not None
        unsupported = self._detecting and (
            not person.sure or self._time_s - person.detected_s > self.options.support_s
        )  # whoever is lost is found again by a detection, if there are any
        return score >= self.options.keep_score * person.score and not unsupported

    def _matched(self, found: Points, owners: NDArray[np.intp], detected: NDArray[np.bool_]) -> list[tuple[int, int]]:
        """Pairs (pose, track): by keypoints, boxes, the box's owner, and by how far a lost person may have gone."""
        if not self.people or not len(found):
            return []
        people, options = np.stack([person.points for person in self.people]), self.options
        sure, named = (np.array(each) for each in zip(*((p.sure, p.identity > 0) for p in self.people), strict=True))
        doubts = self._doubts() + np.where(detected[:, None] | (not self._detecting), 0.0, UNSUPPORTED)
        by_joints, by_boxes = oks_between(found, people, self._skeleton), iou(boxes_of(found), boxes_of(people))
        own = owners[:, None] == np.arange(len(people))
        distances = np.full(by_boxes.shape, np.inf) if sure.all() else self._distances(found)
        again = detected[:, None] & ~sure & (distances <= options.match_distance)
        pairs: list[tuple[int, int]] = []
        for known in (named, ~named):  # whoever has an identity, even lost, comes before those who may be nobody
            for similarity, enough in (
                (by_joints, by_joints >= options.match_oks),
                (by_boxes, by_boxes >= options.match_iou),
                (by_boxes, own),
                (-distances, again),
            ):
                possible = np.where(enough & known, similarity - doubts, -np.inf)
                for pose, track in pairs:
                    possible[pose], possible[:, track] = -np.inf, -np.inf
                pairs.extend(match_greedily(possible))
        return pairs

    def _distances(self, found: Points) -> NDArray[np.float64]:
        """Distances (N, M) of poses (N, K, 3) from the tracks, in standard deviations of place and size."""
        places, sizes = [centre_of(points) for points in found], sizes_of(boxes_of(found))
        noise = self.options.match_noise
        away = [[person.motion.distance(place, person.size, noise) for person in self.people] for place in places]
        grown = np.log(sizes[:, None] / np.array([person.size for person in self.people])) / self.options.size_noise
        return np.hypot(np.array(away), grown)

    def _confirm(self) -> None:
        """Give identities to those who have been detected for long enough."""
        for person in self.people:
            wanted = self.options.hidden_birth_s if person.hidden else self.options.birth_s
            if not person.identity and person.visible and (self._first or person.detected_s - person.born_s >= wanted):
                person.identity, self._next = self._next, self._next + 1

    def _bury(self) -> None:
        """End tracks: not seen for too long, without an identity and not detected, the longest lost of too many."""
        assert self._time_s is not None
        now = self._time_s
        self.people = [
            person
            for person in self.people
            if now - person.found_s <= self.options.death_s
            and (person.identity or (person.visible and (person.detected_s == now or not self._detecting)))
        ]
        rows = sorted(range(len(self.people)), key=lambda row: -self.people[row].found_s)
        self.people = [self.people[row] for row in sorted(rows[: MOST_TRACKS * self.options.max_people])]

    def _reported(self) -> Poses:
        """The people who were found in this frame, by identity."""
        shown = sorted((person for person in self.people if person.sure), key=lambda each: each.identity)
        joints = len(self._skeleton)
        points = np.array([person.points for person in shown]).reshape(-1, joints, 3)
        smoothed = np.array([person.smoothed for person in shown if person.smoothed is not None])
        return Poses(
            xy=points[..., :2].astype(np.float32),
            score=points[..., 2].astype(np.float32),
            boxes=np.array([person.crop for person in shown]).reshape(-1, 4),
            ids=np.array([person.identity for person in shown], np.int64),
            smoothed=smoothed.reshape(-1, joints, 2).astype(np.float32) if self.options.smooth else None,
        )

"""The tracker: frames in, people with identities out. It joins the pose estimator, a detector and the tracks."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...pose.crop import Image, check_boxes
from ...pose.overlap import Boxes
from ..estimator import PoseEstimator, Poses
from ..predict import Detector
from .matching import Points
from .options import TrackerOptions
from .search import find_person
from .state import Proposals, TrackState

if TYPE_CHECKING:
    from ..video.frames import Frame

SEARCH_EVERY_S = 1.0
"""Without a detector an empty scene is searched this often."""


@dataclass(frozen=True)
class Item:
    """One frame of one stream."""

    image: Image
    """(H, W, 3) BGR."""
    time_s: float
    """On a clock of the stream that does not run backwards."""
    boxes: ArrayLike | None = None
    """(N, 4) xyxy, image px, of people, possibly none; None: the tracker finds them."""
    scores: ArrayLike | None = None
    """(N,) of the boxes; None: alike."""


@dataclass
class _Stream:
    state: TrackState
    frames: int = 0
    searched_s: float = -np.inf


class PoseTracker:
    """Keypoints and identities of the people in a stream, or in several streams that share the network's batches.

    The boxes of each frame come from the caller, from a detector every `every` frames and whenever a track is lost, or,
    without either, from the keypoints themselves: then one person is followed. One thread at a time.

    >>> tracker = PoseTracker(estimator)
    >>> poses = tracker(image, time_s=0.0)
    >>> poses.ids
    array([1])
    """

    def __init__(
        self,
        estimator: PoseEstimator,
        detector: Detector | None = None,
        options: TrackerOptions | None = None,
        *,
        every: int = 1,
        streams: int = 1,
    ) -> None:
        if every < 1 or streams < 1:
            raise ValueError(f"every is {every} and streams {streams}, expected at least 1 of each")
        self.estimator, self.detector, self.every = estimator, detector, every
        self.options = options or TrackerOptions()
        skeleton = estimator.spec.skeleton
        self._streams = [_Stream(TrackState(skeleton, self.options)) for _ in range(streams)]

    def __call__(
        self, image: Image, time_s: float, boxes: ArrayLike | None = None, scores: ArrayLike | None = None
    ) -> Poses:
        """People in the next frame of the only stream; ValueError if `time_s` is before that of the last frame."""
        return self.update([Item(image, time_s, boxes, scores)])[0]

    def update(self, items: Sequence[Item | None]) -> list[Poses]:
        """People in one frame of each stream, None where a stream has none now; everybody shares the batches."""
        if len(items) != len(self._streams):
            raise ValueError(f"{len(items)} frames for {len(self._streams)} streams; give None where there is no frame")
        asked: list[tuple[Item, Proposals]] = []
        for stream, item in zip(self._streams, items, strict=True):
            if item is not None:
                asked.append((item, self._proposed(stream, item)))
        found = iter(self.estimator.run_many([(item.image, proposals.boxes) for item, proposals in asked]))
        answers = iter(asked)
        seen = [
            self._nobody() if item is None else stream.state.accept(_points(next(found)), next(answers)[1])
            for stream, item in zip(self._streams, items, strict=True)
        ]
        return [replace(poses, min_score=self.estimator.spec.min_score) for poses in seen]

    def follow(self, frames: "Iterable[Frame]") -> "Iterator[tuple[Frame, Poses]]":
        """Yield each frame of a source with its people; where a live source was interrupted, time goes on."""
        for frame in frames:
            yield frame, self(frame.image, frame.time_s)

    def reset(self, stream: int = 0) -> None:
        """Forget the people of a stream, as at a cut or a new file; identities start at 1 again."""
        self._streams[stream] = _Stream(TrackState(self.estimator.spec.skeleton, self.options))

    def _proposed(self, stream: _Stream, item: Item) -> Proposals:
        boxes, scores = self._detected(stream, item)
        stream.frames += 1
        if boxes is None and self.detector is None and item.boxes is None:
            return self._alone(stream, item)
        return stream.state.propose(item.time_s, boxes, scores)

    def _detected(self, stream: _Stream, item: Item) -> tuple[Boxes | None, NDArray[np.float64] | None]:
        """Boxes and scores of the caller or of the detector; None for both if it is not its turn."""
        if item.boxes is not None:
            boxes = check_boxes(item.boxes)
            scores = None if item.scores is None else np.asarray(item.scores, np.float64)
            if scores is not None and scores.shape != (len(boxes),):
                raise ValueError(f"scores have shape {scores.shape} for {len(boxes)} boxes")
            if scores is not None and not np.isfinite(scores).all():
                row = int((~np.isfinite(scores)).argmax())
                raise ValueError(f"the score of box {row} is {scores[row]}, expected a number")
            return boxes, scores
        if self.detector is not None and (stream.frames % self.every == 0 or stream.state.lost):
            return self.detector(item.image)
        return None, None

    def _alone(self, stream: _Stream, item: Item) -> Proposals:
        """The box of the one person who is followed, found by a search if nobody is."""
        state, spec, (height, width) = stream.state, self.estimator.spec, item.image.shape[:2]
        if state.people or item.time_s - stream.searched_s < SEARCH_EVERY_S:
            return state.propose(item.time_s)
        stream.searched_s = item.time_s

        def look(boxes: Boxes) -> Points:
            return _points(self.estimator(item.image, boxes))

        return state.propose(item.time_s, find_person(look, width, height, spec.skeleton, spec.min_score))

    def _nobody(self) -> Poses:
        joints = len(self.estimator.spec.skeleton)
        nothing = Poses(
            np.empty((0, joints, 2), np.float32),
            np.empty((0, joints), np.float32),
            np.empty((0, 4)),
            np.empty(0, np.int64),
        )
        return replace(nothing, smoothed=nothing.xy) if self.options.smooth else nothing


def _points(poses: Poses) -> Points:
    return np.concatenate((poses.xy, poses.score[..., None]), axis=2, dtype=np.float64)

"""The C library's tracker by ctypes, and its keypoints as Python's tracker takes them."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lehrnet.runtime import Poses
from lehrnet.runtime.backends.library import LibrarySession, _Image, _picture
from lehrnet.runtime.track import Item, SmoothOptions, TrackerOptions

NUMBERS = (
    *("death_s", "birth_s", "hidden_birth_s", "hidden_share", "min_score", "keep_score", "support_s", "match_iou"),
    *("match_oks", "duplicate_iou", "duplicate_oks", "match_distance", "match_noise", "position_noise", "agility"),
    *("size_noise", "slowing_s"),
)


class Options(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("streams", ctypes.c_int32),
        ("max_people", ctypes.c_int32),
        *((name, ctypes.c_double) for name in NUMBERS),
        ("smooth", ctypes.c_int32),
        *((name, ctypes.c_double) for name in ("min_cutoff_hz", "beta", "speed_cutoff_hz")),
    )


class Frame(ctypes.Structure):
    _fields_ = (
        ("stream", ctypes.c_int32),
        ("detected", ctypes.c_int32),
        ("image", _Image),
        ("time_s", ctypes.c_double),
        ("boxes", ctypes.c_void_p),
        ("scores", ctypes.c_void_p),
        ("count", ctypes.c_size_t),
    )


class Person(ctypes.Structure):
    _fields_ = (
        ("id", ctypes.c_int64),
        ("stream", ctypes.c_int32),
        ("score", ctypes.c_float),
        ("box", ctypes.c_float * 4),
        ("keypoints", ctypes.POINTER(ctypes.c_float)),
        ("smoothed", ctypes.POINTER(ctypes.c_float)),
        ("visible", ctypes.POINTER(ctypes.c_uint8)),
    )


def default_options(session: LibrarySession) -> Options:
    """The defaults of the library."""
    options = Options()
    session._check(session._library.lehrnet_tracker_options_init(ctypes.byref(options), ctypes.sizeof(options)))
    return options


class LibraryTracker:
    """What `PoseTracker` is, by the library; ValueError with the library's words for what it refuses."""

    def __init__(self, session: LibrarySession, options: TrackerOptions | None = None, streams: int = 1) -> None:
        self.session, self._tracker = session, ctypes.c_void_p()
        session._library.lehrnet_tracker_close.argtypes = [ctypes.c_void_p]
        given, wanted = default_options(session), options or TrackerOptions()
        given.streams, given.max_people = streams, wanted.max_people
        for name in NUMBERS:
            setattr(given, name, getattr(wanted, name))
        given.smooth, smooth = wanted.smooth is not None, wanted.smooth or SmoothOptions()
        for name in ("min_cutoff_hz", "beta", "speed_cutoff_hz"):
            setattr(given, name, getattr(smooth, name))
        self.smooth = wanted.smooth is not None
        self._call("create", session._session, ctypes.byref(given), ctypes.byref(self._tracker))

    def close(self) -> None:
        """Close the tracker, before its session."""
        self.session._library.lehrnet_tracker_close(self._tracker)
        self._tracker = ctypes.c_void_p()

    def reset(self, stream: int = 0) -> None:
        """Forget a stream's people."""
        self._call("reset", self._tracker, ctypes.c_int32(stream))

    def __call__(
        self, image: Any, time_s: float, boxes: ArrayLike | None = None, scores: ArrayLike | None = None
    ) -> Poses:
        """People in the next frame of the only stream."""
        return self.update([Item(image, time_s, boxes, scores)])[0]

    def update(self, items: Sequence[Item | None]) -> list[Poses]:
        """People in one frame of each stream."""
        given = [(row, item) for row, item in enumerate(items) if item is not None]
        arrays = [(_floats(item.boxes), _floats(item.scores)) for _, item in given]
        frames = (Frame * len(given))()
        for place, (row, item) in enumerate(given):
            boxes, scores = arrays[place]
            count = 0 if boxes is None else len(boxes)
            frames[place] = Frame(
                row, boxes is not None, _picture(item.image), item.time_s, _address(boxes), _address(scores), count
            )
        people, count = ctypes.POINTER(Person)(), ctypes.c_size_t()
        pointers = ctypes.byref(people), ctypes.byref(count)
        self._call("update", self._tracker, frames, ctypes.c_size_t(len(given)), *pointers)
        everybody = [people[row] for row in range(count.value)]
        return [self._poses([each for each in everybody if each.stream == row]) for row in range(len(items))]

    def _poses(self, people: list[Person]) -> Poses:
        joints = self.session.joints
        rows = [np.ctypeslib.as_array(each.keypoints, (joints, 3)).copy() for each in people]
        points = np.array(rows, np.float32).reshape(-1, joints, 3)
        smoothed = [np.ctypeslib.as_array(each.smoothed, (joints, 3))[:, :2] for each in people if each.smoothed]
        boxes = np.array([list(each.box) for each in people]).reshape(-1, 4)
        return Poses(
            xy=points[..., :2],
            score=points[..., 2],
            boxes=boxes,
            ids=np.array([each.id for each in people], np.int64),
            smoothed=np.array(smoothed, np.float32).reshape(-1, joints, 2) if self.smooth else None,
        )

    def _call(self, name: str, *arguments: Any) -> None:
        self.session._check(getattr(self.session._library, f"lehrnet_tracker_{name}")(*arguments))


def _floats(values: ArrayLike | None) -> NDArray[np.float32] | None:
    return None if values is None else np.ascontiguousarray(values, np.float32)


def _address(values: NDArray[np.float32] | None) -> int | None:
    return None if values is None else values.ctypes.data

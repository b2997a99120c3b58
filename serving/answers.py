"""What a server answers: the requests of a batch joined into one run, and a sentence for what cannot be answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..pose.crop import Image, check_boxes, check_image
from ..runtime.estimator import Poses


class Estimator(Protocol):
    """What answers: `PoseEstimator`."""

    def run_many(self, items: Sequence[tuple[Image, ArrayLike | None]]) -> list[Poses]:
        """The poses of each (image, boxes)."""
        ...


@dataclass(frozen=True)
class Request:
    """One client's request: frames of one size, with the same number of people on each."""

    frames: NDArray[np.uint8]
    """(B, H, W, 3) BGR."""
    boxes: NDArray[np.float32]
    """(B, N, 4) xyxy, image px; N may be 0."""


@dataclass(frozen=True)
class Refusal:
    """Why a request was not answered."""

    reason: str
    ours: bool = False
    """Whether the fault is the server's and not the request's."""


Answer = NDArray[np.float32] | Refusal
"""Keypoints (B, N, K, 3): x and y in image px, and the score; or why there are none."""


def answer(estimator: Estimator, requests: Sequence[Request], joints: int, max_people: int) -> list[Answer]:
    """Answer requests in one run of the network, whatever their frames' sizes and numbers of people.

    A request that is wrong, or with more than `max_people` boxes, is refused by itself. If the run fails, each request
    is tried alone, so that one of them cannot fail the others. `joints` is the network's K.
    """
    refused = [_fault(request, max_people) for request in requests]
    fitting = [request for request, reason in zip(requests, refused, strict=True) if reason is None]
    try:
        found: list[Answer] = [*_run(estimator, fitting, joints)]
    except Exception:
        found = [_alone(estimator, request, joints) for request in fitting]
    rest = iter(found)
    return [next(rest) if reason is None else Refusal(reason) for reason in refused]


def _run(estimator: Estimator, requests: Sequence[Request], joints: int) -> list[NDArray[np.float32]]:
    pairs = [pair for request in requests for pair in zip(request.frames, request.boxes, strict=True)]
    poses = iter(estimator.run_many(pairs))
    return [
        np.stack([_keypoints(next(poses), joints) for _ in request.frames]).astype(np.float32) for request in requests
    ]


def _alone(estimator: Estimator, request: Request, joints: int) -> Answer:
    try:
        return _run(estimator, [request], joints)[0]
    except Exception as error:
        return Refusal(f"the server could not answer: {type(error).__name__}: {error}", ours=True)


def _keypoints(poses: Poses, joints: int) -> NDArray[np.float32]:
    return np.concatenate((poses.xy, poses.score[..., None]), 2).reshape(-1, joints, 3)


def _fault(request: Request, max_people: int) -> str | None:
    """Why a request cannot be answered; None if it can."""
    frames, boxes = request.frames, request.boxes
    if frames.ndim != 4 or boxes.ndim != 3 or len(frames) != len(boxes) or len(frames) == 0:
        return (
            f"frame has shape {frames.shape} and boxes {boxes.shape}, expected (1, height, width, 3) of uint8 and "
            "(1, people, 4) of float32"
        )
    if boxes.shape[1] > max_people:
        return (
            f"{boxes.shape[1]} boxes, but this model answers at most {max_people} on a frame: send them in turns, or "
            "write the repository with a larger --max-people"
        )
    try:
        for frame, people in zip(frames, boxes, strict=True):
            check_image(frame)
            check_boxes(people)
    except ValueError as error:
        return str(error)
    return None

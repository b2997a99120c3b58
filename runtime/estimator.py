"""Pixels and boxes in, keypoints out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..pose.crop import Affines, Image, check_boxes, check_image, crop_people
from ..pose.points import find_points
from ..pose.spec import PoseSpec
from .bundle import open_bundle
from .session import Session, open_session

LARGEST_BATCH = 32  # crops that are in memory at once: 19 MB of input at 256x192


@dataclass(frozen=True)
class Poses:
    """The people of one image."""

    xy: NDArray[np.float32]
    """(N, K, 2) image px."""
    score: NDArray[np.float32]
    """(N, K) height of each joint's peak; a trained network's lie between 0 and about 1."""
    boxes: NDArray[np.float64]
    """(N, 4) xyxy, image px: as they were given."""

    def __len__(self) -> int:
        return len(self.boxes)


class PoseEstimator:
    """A session with its crop and its decode. `PoseEstimator.open("bundle")` is the usual way to one."""

    def __init__(self, session: Session, spec: PoseSpec, *, flip: bool = False) -> None:
        self.session, self.spec, self.flip = session, spec, flip

    @classmethod
    def open(
        cls,
        bundle: str | Path,
        precision: str = "fp32",
        device: str = "auto",
        *,
        threads: int | None = None,
        flip: bool = False,
    ) -> "PoseEstimator":
        """Open a bundle; its hashes are checked. `flip` also runs each mirrored crop and averages the heatmaps.

        `precision` names an artefact; "weights" runs the network by PyTorch. `device`: see `open_session`.
        """
        opened = open_bundle(Path(bundle))
        return cls(open_session(opened.path(precision), device, threads), opened.spec, flip=flip)

    def __call__(self, image: Image, boxes: ArrayLike | None = None) -> Poses:
        """Keypoints of the people in boxes (N, 4) xyxy of a BGR image (H, W, 3); without boxes, of one who fills it."""
        return self.run_many([(image, boxes)])[0]

    def run_many(self, items: Sequence[tuple[Image, ArrayLike | None]]) -> list[Poses]:
        """Keypoints for several images with their boxes; people of all images share the batches."""
        if not items:
            return []
        checked: list[tuple[Image, NDArray[np.float64]]] = []
        for image, boxes in items:
            check_image(image)
            checked.append((image, check_boxes([whole_image(image)] if boxes is None else boxes)))
        joints = len(self.spec.joints)
        xy = np.concatenate([np.empty((0, joints, 3), np.float32), *self._batches(checked)])
        ends = np.cumsum([len(boxes) for _, boxes in checked])[:-1]
        people = np.split(xy, ends)
        return [Poses(found[..., :2], found[..., 2], boxes) for found, (_, boxes) in zip(people, checked, strict=True)]

    def _batches(self, items: Sequence[tuple[Image, NDArray[np.float64]]]) -> Iterable[NDArray[np.float32]]:
        """Keypoints (n, K, 3) of batch after batch, in the order of the boxes."""
        parts = [
            (image, boxes[start : start + LARGEST_BATCH])
            for image, boxes in items
            for start in range(0, len(boxes), LARGEST_BATCH)
        ]
        while parts:
            fitting = np.cumsum([len(boxes) for _, boxes in parts]) <= LARGEST_BATCH
            batch, parts = parts[: fitting.sum()], parts[fitting.sum() :]
            yield self._keypoints([crop_people(image, boxes, self.spec) for image, boxes in batch])

    def _keypoints(self, people: Sequence[tuple[NDArray[np.float32], Affines]]) -> NDArray[np.float32]:
        """(n, K, 3): x and y in image px, and the score."""
        crops = np.concatenate([crops for crops, _ in people])
        affines = np.concatenate([affines for _, affines in people])
        return find_points(self.session.run, crops, affines, self.spec, flip=self.flip)


def whole_image(image: Image) -> tuple[float, float, float, float]:
    """The box around all of an image."""
    return 0.0, 0.0, float(image.shape[1]), float(image.shape[0])

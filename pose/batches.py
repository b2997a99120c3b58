"""Batches of crops from labelled people."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .crop import Affines, crop_people, invert_affines, transform_points
from .data import PoseData
from .spec import PoseSpec

LabelledBatch = tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]
"""Crops (n, 3, H, W), keypoints (n, K, 3) in crop px with visibility 0 for unlabelled joints, and areas (n,) in crop
px^2."""


@dataclass(frozen=True)
class BadPicture:
    """An image that could not be used, and the reason."""

    path: Path
    reason: str

    def facts(self) -> dict[str, str]:
        """For JSON."""
        return {"file_name": str(self.path), "error": self.reason}


def unlabelled(crops: NDArray[np.float32], spec: PoseSpec) -> LabelledBatch:
    """Crops (n, 3, H, W) as a batch without labels."""
    return crops, np.zeros((len(crops), len(spec.skeleton), 3)), np.zeros(len(crops))


def crop_batches(
    people: PoseData, spec: PoseSpec, sizes: Iterable[int], bad: list[BadPicture] | None = None
) -> Iterator[tuple[NDArray[np.float32], Affines]]:
    """Yield crops (n, 3, H, W) and affines (n, 2, 3) of all people, by image, in batches of `sizes`.

    `sizes` must be infinite: `itertools.repeat(32)`, `itertools.cycle((1, 2, 7))`. An unreadable image raises; with a
    list `bad` it is recorded there instead, and its people's affines, hence their points, are NaN.
    """
    crops, affines = np.empty((0, 3, *spec.input_size), np.float32), np.empty((0, 2, 3))
    wanted = iter(sizes)
    size = next(wanted)
    for path, rows in people.by_image():
        try:
            more_crops, more_affines = crop_people(people.picture(rows[0]), people.boxes[rows], spec)
        except (ValueError, OSError) as error:
            if bad is None:
                raise
            bad.append(BadPicture(path, str(error)))
            more_crops = np.zeros((len(rows), 3, *spec.input_size), np.float32)
            more_affines = np.full((len(rows), 2, 3), np.nan)
        crops, affines = np.concatenate((crops, more_crops)), np.concatenate((affines, more_affines))
        while len(crops) >= size:
            yield crops[:size], affines[:size]
            crops, affines, size = crops[size:], affines[size:], next(wanted)
    if len(crops):
        yield crops, affines


def labelled_batches(people: PoseData, spec: PoseSpec, sizes: Iterable[int]) -> Iterator[LabelledBatch]:
    """The crops of `crop_batches` with their labels."""
    start = 0
    rows = np.argsort(people.image_of, kind="stable")
    for crops, affines in crop_batches(people, spec, sizes):
        mine = rows[start : start + len(crops)]
        keypoints = people.keypoints[mine].copy()
        keypoints[..., :2] = transform_points(keypoints[..., :2], invert_affines(affines))
        yield crops, keypoints, people.areas[mine] / np.linalg.det(affines[:, :, :2])
        start += len(crops)

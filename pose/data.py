"""Labelled people: what the readers of COCO and MPII give, as arrays."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .skeleton import Skeleton

HELD_OUT_EVERY = 20  # one image in twenty is kept from training


@dataclass(frozen=True)
class PoseData:
    """N people on M images, checked when they were read."""

    skeleton: Skeleton
    images: tuple[Path, ...]
    image_ids: NDArray[np.int64]
    """(M,)"""
    image_of: NDArray[np.int64]
    """(N,) which of `images` a person is on."""
    person_ids: NDArray[np.int64]
    """(N,)"""
    boxes: NDArray[np.float64]
    """(N, 4) xyxy, image px."""
    keypoints: NDArray[np.float64]
    """(N, K, 3) x, y in image px, and visibility: 0 not labelled, 1 hidden, 2 seen."""
    areas: NDArray[np.float64]
    """(N,) of the person's segment, px^2: what OKS scales with."""
    labels: Path
    """The file they were read from."""

    def __len__(self) -> int:
        return len(self.boxes)

    def by_image(self) -> Iterator[tuple[Path, NDArray[np.int64]]]:
        """Each image that has people, with their rows."""
        order = np.argsort(self.image_of, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(self.image_of[order])) + 1):
            if len(rows):
                yield self.images[self.image_of[rows[0]]], rows

    def take(self, people: NDArray[np.bool_] | NDArray[np.integer]) -> "PoseData":
        """Some of the people, by a mask (N,) or by their rows; the images stay."""
        names = ("image_of", "person_ids", "boxes", "keypoints", "areas")
        return replace(self, **{name: getattr(self, name)[people] for name in names})

    def with_images(self) -> "PoseData":
        """Itself; FileNotFoundError unless every image is there."""
        missing = [path for path in self.images if not path.is_file()]
        if missing:
            count = len(missing)
            raise FileNotFoundError(f"{self.labels}: {count} of its images are missing, the first is {missing[0]}")
        return self

    def with_keypoints(self) -> "PoseData":
        """Those of the people who have at least one labelled joint."""
        return self.take(np.asarray((self.keypoints[:, :, 2] > 0).any(1)))


def is_held_out(image: Path) -> bool:
    """Whether an image is kept for validation: by its name, so that nobody is ever on both sides."""
    return zlib.crc32(image.name.encode()) % HELD_OUT_EVERY == 0

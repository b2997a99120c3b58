"""Labelled people as arrays: the result of the COCO and MPII readers."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .crop import Image
from .pictures import picture_size, read_image
from .reading import Reading
from .skeleton import Skeleton

HELD_OUT_EVERY = 20  # one image in twenty is held out for validation
ImageId = int | str
"""As the label file writes it."""


@dataclass(frozen=True)
class PoseData:
    """N people on M images, validated by the reader."""

    skeleton: Skeleton
    images: tuple[Path, ...]
    image_ids: tuple[ImageId, ...]
    """M image files."""
    image_of: NDArray[np.int64]
    """(N,) index into `images` of each person."""
    person_ids: NDArray[np.object_]
    """(N,) annotation ids of the label file."""
    boxes: NDArray[np.float64]
    """(N, 4) xyxy, image px."""
    keypoints: NDArray[np.float64]
    """(N, K, 3) x, y in image px, and visibility: 0 not labelled, 1 hidden, 2 seen."""
    areas: NDArray[np.float64]
    """(N,) area of the person's segment, px^2, by which OKS is scaled."""
    labels: Path
    """The label file."""
    reading: Reading
    """Omissions and defaults of the reader."""
    category: ImageId = 1
    """Category id of persons in the label file, for results."""
    head_sizes: NDArray[np.float64] | None = None
    """MPII only: (N,) head sizes in image px, by which PCKh is normalized; NaN if unknown."""
    turned: frozenset[int] = frozenset()
    """The images whose labels refer to the EXIF orientation; those of the others refer to the stored pixels."""
    crowds: "PoseData | None" = None
    """Crowd regions on the same images, in which results are ignored."""

    def __len__(self) -> int:
        return len(self.boxes)

    def by_image(self) -> Iterator[tuple[Path, NDArray[np.int64]]]:
        """Yield each image with people and the rows of its people."""
        order = np.argsort(self.image_of, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(self.image_of[order])) + 1):
            if len(rows):
                yield self.images[self.image_of[rows[0]]], rows

    def picture(self, row: int) -> Image:
        """The image of a person, BGR (H, W, 3), oriented as labelled; raises as `read_image` does."""
        index = int(self.image_of[row])
        return read_image(self.images[index], turn=index in self.turned)

    def take(self, people: NDArray[np.bool_] | NDArray[np.integer]) -> "PoseData":
        """A selection of people by mask (N,) or row indices; the images are kept."""
        names = ["image_of", "person_ids", "boxes", "keypoints", "areas"]
        names += ["head_sizes"] if self.head_sizes is not None else []
        return replace(self, **{name: getattr(self, name)[people] for name in names})

    def with_keypoints(self) -> "PoseData":
        """The people with at least one labelled joint."""
        return self.take(np.asarray((self.keypoints[:, :, 2] > 0).any(1)))

    def with_pictures(self, sizes: NDArray[np.int64]) -> "PoseData":
        """Check the image files and return a copy that knows which images are labelled in EXIF orientation.

        `sizes` (M, 2) are the labelled (width, height), 0 if not given. Raises FileNotFoundError for missing images of
        people, and ValueError with the first three images whose size differs from the labels.
        """
        missing, differing, turned = [], [], set()
        for index in np.unique(self.image_of).tolist():
            path, wanted = self.images[index], (int(sizes[index, 0]), int(sizes[index, 1]))
            if not path.is_file():
                missing.append(str(path))
            elif all(wanted):
                found = _size(path)
                if found is not None and found[:2] != wanted:
                    if found[2] and found[1::-1] == wanted:
                        turned.add(index)
                    else:
                        differing.append(f"{path} is {found[0]} x {found[1]}, the labels say {wanted[0]} x {wanted[1]}")
        if missing:
            raise FileNotFoundError(
                f"{self.labels}: {len(missing)} of its images are missing, the first is {missing[0]}; "
                "copy them, or take them out of the label file"
            )
        if differing:
            raise ValueError(
                f"{self.labels}: {len(differing)} of its images have other sizes than the labels say, so that "
                f"the joints are elsewhere: {'; '.join(differing[:3])}"
            )
        return replace(self, turned=frozenset(turned))


def _size(path: Path) -> tuple[int, int, bool] | None:
    """`picture_size`, but None if the file is not an image, which is reported later, when it is read."""
    try:
        return picture_size(path)
    except (ValueError, OSError):
        return None


def is_held_out(image: Path) -> bool:
    """Whether an image is held out for validation, by a hash of its name, so that the split never changes."""
    return zlib.crc32(image.name.encode()) % HELD_OUT_EVERY == 0

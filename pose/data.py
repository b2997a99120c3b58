"""Labelled people: what the readers of COCO and MPII give, as arrays."""

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

HELD_OUT_EVERY = 20  # one image in twenty is kept from training
ImageId = int | str
"""As the label file writes it."""


@dataclass(frozen=True)
class PoseData:
    """N people on M images, checked when they were read."""

    skeleton: Skeleton
    images: tuple[Path, ...]
    image_ids: tuple[ImageId, ...]
    """M."""
    image_of: NDArray[np.int64]
    """(N,) which of `images` a person is on."""
    person_ids: NDArray[np.object_]
    """(N,) as the label file writes them."""
    boxes: NDArray[np.float64]
    """(N, 4) xyxy, image px."""
    keypoints: NDArray[np.float64]
    """(N, K, 3) x, y in image px, and visibility: 0 not labelled, 1 hidden, 2 seen."""
    areas: NDArray[np.float64]
    """(N,) of the person's segment, px^2: what OKS scales with."""
    labels: Path
    """The file they were read from."""
    reading: Reading
    """What the reader left out and filled in."""
    category: ImageId = 1
    """The label file's id for persons, which results must bear."""
    head_sizes: NDArray[np.float64] | None = None
    """(N,) in image px, which PCKh divides by; NaN for a person without. MPII's alone."""
    turned: frozenset[int] = frozenset()
    """Which of `images` are labelled as EXIF turns them; the others as they are stored, which is COCO's way."""
    crowds: "PoseData | None" = None
    """Groups on the same images, where a result is neither right nor wrong."""

    def __len__(self) -> int:
        return len(self.boxes)

    def by_image(self) -> Iterator[tuple[Path, NDArray[np.int64]]]:
        """Each image that has people, with their rows."""
        order = np.argsort(self.image_of, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(self.image_of[order])) + 1):
            if len(rows):
                yield self.images[self.image_of[rows[0]]], rows

    def picture(self, row: int) -> Image:
        """The image of a person, BGR (H, W, 3), in the frame of the labels; raises as `read_image` does."""
        index = int(self.image_of[row])
        return read_image(self.images[index], turn=index in self.turned)

    def take(self, people: NDArray[np.bool_] | NDArray[np.integer]) -> "PoseData":
        """Some of the people, by a mask (N,) or by their rows; the images stay."""
        names = ["image_of", "person_ids", "boxes", "keypoints", "areas"]
        names += ["head_sizes"] if self.head_sizes is not None else []
        return replace(self, **{name: getattr(self, name)[people] for name in names})

    def with_keypoints(self) -> "PoseData":
        """Those of the people who have at least one labelled joint."""
        return self.take(np.asarray((self.keypoints[:, :, 2] > 0).any(1)))

    def with_pictures(self, sizes: NDArray[np.int64]) -> "PoseData":
        """Itself, knowing which pictures are turned by EXIF.

        `sizes` (M, 2) are the widths and heights that the labels give, 0 where they give none. Raises
        FileNotFoundError where pictures of people are missing, and ValueError where they have other sizes than the
        labels say, each with the first three.
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
    """None for what is no picture: that is said when it is read, and costs only its own people."""
    try:
        return picture_size(path)
    except (ValueError, OSError):
        return None


def is_held_out(image: Path) -> bool:
    """Whether an image is kept for validation: by its name, so that nobody is ever on both sides."""
    return zlib.crc32(image.name.encode()) % HELD_OUT_EVERY == 0

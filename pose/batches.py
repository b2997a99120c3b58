"""Labelled people as batches of crops."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from .crop import Affines, crop_people
from .data import PoseData
from .pictures import read_image
from .spec import PoseSpec


def crop_batches(
    people: PoseData, spec: PoseSpec, sizes: Iterable[int]
) -> Iterator[tuple[NDArray[np.float32], Affines]]:
    """Crops (n, 3, H, W) and affines of everyone, image by image, in batches of `sizes`; the last may be smaller.

    `sizes` goes on for ever: `itertools.repeat(32)`, `itertools.cycle((1, 2, 7))`.
    """
    crops, affines = np.empty((0, 3, *spec.input_size), np.float32), np.empty((0, 2, 3))
    wanted = iter(sizes)
    size = next(wanted)
    for path, rows in people.by_image():
        more_crops, more_affines = crop_people(read_image(path), people.boxes[rows], spec)
        crops, affines = np.concatenate((crops, more_crops)), np.concatenate((affines, more_affines))
        while len(crops) >= size:
            yield crops[:size], affines[:size]
            crops, affines, size = crops[size:], affines[size:], next(wanted)
    if len(crops):
        yield crops, affines

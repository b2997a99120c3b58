"""The one crop: from boxes to affines, and from pixels to the network's input (frames: `lehrnet.pose`)."""

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from .frame import person_affines
from .spec import PoseSpec

Image = NDArray[np.uint8]
"""(H, W, 3) BGR, as OpenCV reads it."""
Affines = NDArray[np.float64]
"""(N, 2, 3), acting on pixel indices."""
Sampler = Callable[[Image, NDArray[np.float64], tuple[int, int]], NDArray[np.float32]]
"""An image at an affine (2, 3) of every pixel of a size (H, W): (H, W, 3) in grey levels."""
FARTHEST = 1e7  # px: no image is as large, and float32 still tells pixels apart
GREY_LEVEL = 1.0
"""Values run from 0 to 255; a warp that strays further than one level is not used."""


def check_image(image: Image) -> None:
    """Raise ValueError unless this is an image that can be cropped."""
    if not isinstance(image, np.ndarray):
        raise ValueError(f"image is {type(image).__name__}, expected a NumPy array (height, width, 3) of uint8 in BGR")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f"image has shape {image.shape} and type {image.dtype}, expected (height, width, 3) of uint8 in BGR, "
            "not empty; cv2.imread(path, cv2.IMREAD_COLOR) gives that"
        )


def check_boxes(boxes: object) -> NDArray[np.float64]:
    """Boxes as (N, 4) xyxy in image px; ValueError unless all are numbers of px, with their corners in order."""
    given = np.asarray(boxes)
    if given.size and given.dtype.kind not in "iuf":
        raise ValueError(f"boxes are {given.dtype}, expected numbers: x1, y1, x2, y2 in image px")
    array = np.empty((0, 4)) if given.size == 0 else given.astype(np.float64)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes have shape {array.shape}, expected (N, 4): x1, y1, x2, y2 in image px")
    bad = broken_boxes(array)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(f"box {row} is {array[row].tolist()}, expected finite x1 < x2 and y1 < y2 in image px")
    far = (np.abs(array) > FARTHEST).any(1)
    if far.any():
        row = int(far.argmax())
        raise ValueError(f"box {row} is {array[row].tolist()}, expected px within {FARTHEST:g} of the image's corner")
    return array


def broken_boxes(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) which of the boxes (N, 4) xyxy are not finite or have their corners out of order."""
    return np.asarray(~np.isfinite(boxes).all(1) | ~(boxes[:, 2:] > boxes[:, :2]).all(1))


def corners(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """COCO's boxes (N, 4), x, y, width, height, as xyxy."""
    return np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)


def invert_affines(affines: Affines) -> Affines:
    """The inverse of each affine (N, 2, 3)."""
    linear = np.linalg.inv(affines[:, :, :2])
    return np.concatenate((linear, -linear @ affines[:, :, 2:]), axis=2, dtype=np.float64)


def transform_points(points: NDArray[np.floating], affines: Affines) -> NDArray[np.float64]:
    """Points (N, K, 2) through the affines (N, 2, 3) of their persons."""
    return points @ affines[:, :, :2].transpose(0, 2, 1) + affines[:, None, :, 2]


def crop_people(image: Image, boxes: NDArray[np.float64], spec: PoseSpec) -> tuple[NDArray[np.float32], Affines]:
    """Normalized RGB crops (N, 3, H, W) of the boxes, and their affines from crop px to image px.

    Exact bilinear sampling; outside the image the picture goes on in black.
    """
    affines = person_affines(boxes, spec)
    crops = np.empty((len(boxes), 3, *spec.input_size), np.float32)
    sample = sample_by_opencv if opencv_is_exact() else sample_upright
    scale = (1 / (255 * np.array(spec.std))).astype(np.float32)[:, None, None]
    shift = (-np.array(spec.mean) / np.array(spec.std)).astype(np.float32)[:, None, None]
    for crop, affine in zip(crops, affines, strict=True):
        rgb = sample(image, affine, spec.input_size).transpose(2, 0, 1)[::-1]
        np.add(np.multiply(rgb, scale, out=crop), shift, out=crop)
    return crops, affines


def sample_bilinear(image: Image, affine: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float32]:
    """The definition: `image` at affine(x, y) for every pixel (x, y) of `size`; (H, W, 3) in grey levels."""
    y, x = np.indices(size)
    x, y = (affine @ np.stack((x, y, np.ones_like(x))).reshape(3, -1)).reshape(2, *size)
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right_share, lower_share = (x - left)[..., None], (y - top)[..., None]
    framed = np.pad(image.astype(np.float64), ((1, 1), (1, 1), (0, 0)))

    def at(row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float64]:
        return framed[(row + 1).clip(0, framed.shape[0] - 1), (column + 1).clip(0, framed.shape[1] - 1)]

    upper = at(top, left) * (1 - right_share) + at(top, left + 1) * right_share
    lower = at(top + 1, left) * (1 - right_share) + at(top + 1, left + 1) * right_share
    return (upper * (1 - lower_share) + lower * lower_share).astype(np.float32)


def sample_upright(image: Image, affine: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float32]:
    """`sample_bilinear` for an affine without rotation: rows first, then columns."""
    top, bottom, top_share, bottom_share = _neighbours(affine[1, 1], affine[1, 2], size[0], image.shape[0])
    left, right, left_share, right_share = _neighbours(affine[0, 0], affine[0, 2], size[1], image.shape[1])
    first, last = left[0], right[-1] + 1
    band = image[:, first:last]
    rows = band[top] * top_share[:, None, None]
    rows += band[bottom] * bottom_share[:, None, None]
    crop = rows[:, left - first] * left_share[:, None]
    crop += rows[:, right - first] * right_share[:, None]
    return crop


def _neighbours(
    step: float, start: float, count: int, size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """The two pixels of an axis beside each sample, and their shares; a pixel outside has none."""
    position = step * np.arange(count) + start
    before = np.floor(position).astype(np.int64)
    share = position - before
    shares = np.stack((1 - share, share)) * [(before >= 0) & (before < size), (before + 1 >= 0) & (before + 1 < size)]
    first, second = shares.astype(np.float32)
    return before.clip(0, size - 1), (before + 1).clip(0, size - 1), first, second


def sample_by_opencv(image: Image, affine: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float32]:
    """`sample_bilinear` for an affine without rotation by OpenCV, on the part of the image that it sees."""
    scale, shift = affine[[0, 1], [0, 1]], affine[:, 2]
    limit = np.array([image.shape[1], image.shape[0]])
    first = np.floor(shift).astype(int).clip(0, limit - 1)
    last = (np.ceil(shift + scale * (np.array(size)[::-1] - 1)).astype(int) + 1).clip(first + 1, limit)
    part = image[first[1] : last[1], first[0] : last[0]].astype(np.float32)
    moved = affine.copy()
    moved[:, 2] -= first
    warped = cv2.warpAffine(part, moved, size[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(warped, np.float32)


@lru_cache(maxsize=1)
def opencv_is_exact() -> bool:
    """Whether this OpenCV's warp interpolates in float (5 does; 4 rounds its weights to 1/32 px)."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    affine = np.array([[0.37, 0, 2.117], [0, 0.41, -1.093]])
    error = np.abs(sample_by_opencv(noise, affine, (48, 48)) - sample_bilinear(noise, affine, (48, 48)))
    return float(error.max()) < GREY_LEVEL / 10

"""Where the cells of a heatmap lie in the crop, and the crop in the image: one linear map an axis, by the spec's frame.

Points are pixel indices; boxes are edges (`lehrnet.pose`). HRNet's and UDP's code take a box's corners for pixel
indices instead, and so do their frames here.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .spec import PoseSpec


class Line(NamedTuple):
    """crop = factor * cell + offset, for x and y."""

    factor: tuple[float, float]
    offset: float


def cell_line(spec: PoseSpec) -> Line:
    """How the cells of a heatmap lie in the crop, px."""
    stride = float(spec.stride)
    match spec.frame:
        case "edges":
            return Line((stride, stride), (stride - 1) / 2)
        case "hrnet":
            return Line((stride, stride), 0.0)
    (height, width), (rows, columns) = spec.input_size, spec.grid
    return Line(((width - 1) / (columns - 1), (height - 1) / (rows - 1)), 0.0)


def cells_to_crop(points: NDArray[np.floating], spec: PoseSpec) -> NDArray[np.floating]:
    """Points (..., 2) in cells to crop px."""
    factor, offset = cell_line(spec)
    return points * np.asarray(factor, points.dtype) + offset


def crop_to_cells(points: NDArray[np.floating], spec: PoseSpec) -> NDArray[np.floating]:
    """Points (..., 2) in crop px to cells."""
    factor, offset = cell_line(spec)
    return (points - offset) / np.asarray(factor, points.dtype)


class CropLine(NamedTuple):
    """image = scale * crop + centre - scale * middle + shift, where scale = stretch * share for x and y.

    `share` is how many px of the image a pixel of the crop has: those of the padded box over the crop's side.
    """

    stretch: tuple[float, float]
    middle: tuple[float, float]
    """Crop px of the box's centre."""
    shift: float
    """From edges to pixel indices."""


def crop_line(spec: PoseSpec) -> CropLine:
    """How the crop lies in the image.

    edges: edges meet edges, so that a crop of a box of its own size and position is the image's pixels unchanged.
    hrnet: the box's centre comes to (width / 2, height / 2). udp: the box's sides span the outermost pixels' centres.
    """
    height, width = spec.input_size
    match spec.frame:
        case "edges":
            return CropLine((1.0, 1.0), ((width - 1) / 2, (height - 1) / 2), -0.5)
        case "hrnet":
            return CropLine((1.0, 1.0), (width / 2, height / 2), 0.0)
    return CropLine((width / (width - 1), height / (height - 1)), ((width - 1) / 2, (height - 1) / 2), 0.0)


def person_affines(boxes: NDArray[np.float64], spec: PoseSpec) -> NDArray[np.float64]:
    """Affines (N, 2, 3) from crop px to image px: each padded box (N, 4) of the input's aspect fills a crop."""
    line = crop_line(spec)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = boxes[:, 2:] - boxes[:, :2]
    share = spec.padding * (sides / np.array(spec.input_size[::-1])).max(1, initial=0)
    scale = share[:, None] * np.array(line.stretch)
    affines = np.zeros((len(boxes), 2, 3))
    affines[:, 0, 0], affines[:, 1, 1] = scale.T
    affines[:, :, 2] = centre - scale * np.array(line.middle) + line.shift
    return affines

"""From crops to keypoints by way of anything that gives heatmaps."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .crop import Affines, transform_points
from .frame import cells_to_crop
from .heatmap import decode, fuse_flipped
from .spec import PoseSpec

Heatmapper = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Crops (N, 3, H, W) to heatmaps (N, K, H/4, W/4)."""


def find_points(
    heatmaps_of: Heatmapper, crops: NDArray[np.float32], affines: Affines, spec: PoseSpec, *, flip: bool = False
) -> NDArray[np.float32]:
    """Keypoints (N, K, 3), x and y in image px and the score, of crops (N, 3, H, W) with affines (N, 2, 3).

    `flip` also runs the mirrored crops and averages the heatmaps.
    """
    heatmaps = heatmaps_of(crops)
    if flip:
        mirrored = heatmaps_of(np.ascontiguousarray(crops[..., ::-1]))
        heatmaps = fuse_flipped(heatmaps, mirrored, spec.skeleton.mirror, spec.frame)
    return image_points(heatmaps, affines, spec)


def image_points(heatmaps: NDArray[np.float32], affines: Affines, spec: PoseSpec) -> NDArray[np.float32]:
    """Decode heatmaps (N, K, h, w) to keypoints (N, K, 3): x, y in image px and the score; affines (N, 2, 3)."""
    points = crop_points(heatmaps, spec)
    points[..., :2] = transform_points(points[..., :2], affines)
    return points


def crop_points(heatmaps: NDArray[np.float32], spec: PoseSpec) -> NDArray[np.float32]:
    """Decode heatmaps (N, K, h, w) to keypoints (N, K, 3): x, y in crop px and the score."""
    cells, scores = decode(heatmaps, spec.decode, spec.frame)
    return np.concatenate((cells_to_crop(cells, spec), scores[..., None]), axis=2, dtype=np.float32)

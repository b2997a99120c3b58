"""Drawing of skeletons on images."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ..pose.crop import Image
from ..pose.skeleton import Skeleton
from ..pose.spec import PoseSpec
from .estimator import Poses

LEFT, RIGHT, MIDDLE = (60, 160, 255), (255, 170, 60), (90, 220, 90)  # BGR: orange, blue, green
SUBPIXEL_BITS = 4  # OpenCV draws at 1/16 px


def draw_poses(image: Image, poses: Poses, skeleton: Skeleton, min_score: float = PoseSpec.min_score) -> Image:
    """A copy of the BGR `image` with each person's joints and limbs; orange is the person's left, blue the right.

    Joints with a score below `min_score`, and their limbs, are not drawn; the network's own is `spec.min_score`.
    """
    canvas = image.copy()
    for points, scores, box in zip(poses.xy, poses.score, poses.boxes, strict=True):
        thickness = max(2, round(float(min(box[2:] - box[:2])) / 80))
        seen = scores >= min_score
        for start, end in skeleton.limbs:
            if seen[start] and seen[end]:
                colour = _colour(skeleton, start, end)
                cv2.line(
                    canvas, _pixel(points[start]), _pixel(points[end]), colour, thickness, cv2.LINE_AA, SUBPIXEL_BITS
                )
        for joint in np.flatnonzero(seen).tolist():
            centre, radius = _pixel(points[joint]), (thickness + 1) << SUBPIXEL_BITS
            cv2.circle(canvas, centre, radius, (255, 255, 255), cv2.FILLED, cv2.LINE_AA, SUBPIXEL_BITS)
            inner = thickness << SUBPIXEL_BITS
            cv2.circle(canvas, centre, inner, _colour(skeleton, joint), cv2.FILLED, cv2.LINE_AA, SUBPIXEL_BITS)
    return canvas


def _colour(skeleton: Skeleton, *joints: int) -> tuple[int, int, int]:
    sides = {skeleton.side(joint) for joint in joints}
    return {"left": LEFT, "right": RIGHT, None: MIDDLE}[sides.pop()] if len(sides) == 1 else MIDDLE


def _pixel(point: NDArray[np.float32]) -> tuple[int, int]:
    x, y = (point.astype(np.float64).clip(-1e4, 1e4) * (1 << SUBPIXEL_BITS)).round().astype(int).tolist()
    return x, y

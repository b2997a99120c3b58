"""Drawing of skeletons on images."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ..pose.crop import Image
from ..pose.skeleton import Skeleton
from .estimator import Poses

LEFT, RIGHT, MIDDLE = (60, 160, 255), (255, 170, 60), (90, 220, 90)  # BGR: orange, blue, green
GOLDEN_RATIO = 0.618034
SUBPIXEL_BITS = 4  # OpenCV draws at 1/16 px


def draw_poses(image: Image, poses: Poses, skeleton: Skeleton, min_score: float | None = None) -> Image:
    """A copy of the BGR `image` with each person's joints and limbs; orange is the person's left, blue the right.

    Joints with a score below `min_score` (None: `poses.min_score`), and their limbs, are not drawn. With identities the
    limbs and the number have the identity's colour; joints keep that of their side.
    """
    canvas = image.copy()
    lowest = poses.min_score if min_score is None else min_score
    identities = [None] * len(poses) if poses.ids is None else poses.ids.tolist()
    for points, scores, box, identity in zip(poses.shown, poses.score, poses.boxes, identities, strict=True):
        thickness = max(2, round(float(min(box[2:] - box[:2])) / 80))
        seen = scores >= lowest
        for start, end in skeleton.limbs:
            if seen[start] and seen[end]:
                colour = _colour(skeleton, start, end) if identity is None else identity_colour(identity)
                cv2.line(
                    canvas, _pixel(points[start]), _pixel(points[end]), colour, thickness, cv2.LINE_AA, SUBPIXEL_BITS
                )
        for joint in np.flatnonzero(seen).tolist():
            centre, radius = _pixel(points[joint]), (thickness + 1) << SUBPIXEL_BITS
            cv2.circle(canvas, centre, radius, (255, 255, 255), cv2.FILLED, cv2.LINE_AA, SUBPIXEL_BITS)
            inner = thickness << SUBPIXEL_BITS
            cv2.circle(canvas, centre, inner, _colour(skeleton, joint), cv2.FILLED, cv2.LINE_AA, SUBPIXEL_BITS)
        if identity is not None:
            _number(canvas, box, identity, thickness)
    return canvas


def identity_colour(identity: int) -> tuple[int, int, int]:
    """BGR colour of an identity: hues a golden ratio apart, so that neighbours in number differ."""
    hue = round(180 * (identity * GOLDEN_RATIO % 1)) % 180
    blue, green, red = cv2.cvtColor(np.array([[(hue, 200, 255)]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0].tolist()
    return blue, green, red


def _number(canvas: Image, box: NDArray[np.float64], identity: int, thickness: int) -> None:
    """Write the identity above the person, on a plate of its colour; the plate stays within the image."""
    scale, text = 0.35 * thickness, str(identity)
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    limit = np.array((canvas.shape[1] - width - 3 * thickness, canvas.shape[0] - 1))
    x, y = np.minimum(box[:2].clip(0, 1e4), limit.clip(0)).astype(int).tolist()
    y = max(y, height + 3 * thickness)
    plate = (x, y - height - 2 * thickness), (x + width + 2 * thickness, y)
    cv2.rectangle(canvas, *plate, identity_colour(identity), cv2.FILLED)
    cv2.putText(canvas, text, (x + thickness, y - thickness), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), thickness)


def _colour(skeleton: Skeleton, *joints: int) -> tuple[int, int, int]:
    sides = {skeleton.side(joint) for joint in joints}
    return {"left": LEFT, "right": RIGHT, None: MIDDLE}[sides.pop()] if len(sides) == 1 else MIDDLE


def _pixel(point: NDArray[np.float32]) -> tuple[int, int]:
    x, y = (point.astype(np.float64).clip(-1e4, 1e4) * (1 << SUBPIXEL_BITS)).round().astype(int).tolist()
    return x, y

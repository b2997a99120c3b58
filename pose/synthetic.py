"""Synthetic data set: drawn articulated figures on clutter with exact labels, for tests without downloads."""

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..files import atomic_folder
from .skeleton import COCO17

Points = NDArray[np.float64]
Image = NDArray[np.uint8]

SIDES = ((480, 640), (640, 480), (512, 512))
"""(height, width) of the images, px."""
HIDDEN, SEEN = 1, 2
# Lengths as shares of body height, by the eight-heads canon of figure drawing.
TORSO, NECK, HEAD, SHOULDER, HIP = 0.30, 0.06, 0.065, 0.11, 0.075
ARM, LEG = (0.17, 0.15), (0.24, 0.23)
ARM_WIDTH, LEG_WIDTH = 0.055, 0.075
FACE = {
    "nose": (0, 0.15),
    "left_eye": (0.38, -0.2),
    "right_eye": (-0.38, -0.2),
    "left_ear": (0.95, 0),
    "right_ear": (-0.95, 0),
}
"""(right, down) offsets in the face, in head radii."""


def write_synthetic(
    folder: Path,
    images: int,
    seed: int = 0,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda numbers: numbers,
) -> int:
    """Write a COCO data folder of `images` images and return their number of people.

    The folder is written atomically; the same seed gives the same images. FileExistsError if `folder` exists.
    """
    if images < 1:
        raise ValueError(f"images is {images}, expected at least 1")
    entries, people = [], []
    with atomic_folder(folder) as unfinished:
        (unfinished / "images").mkdir()
        for number in progress(range(1, images + 1)):
            picture, found = draw_scene(np.random.default_rng((seed, number)))
            name = f"{number:012d}.jpg"
            cv2.imwrite(str(unfinished / "images" / name), picture)
            height, width = picture.shape[:2]
            entries.append({"id": number, "file_name": name, "height": height, "width": width})
            people += [{"id": len(people) + index, "image_id": number, **each} for index, each in enumerate(found, 1)]
        category = {"id": 1, "name": "person", "keypoints": list(COCO17.joints), "skeleton": []}
        content = {"images": entries, "annotations": people, "categories": [category]}
        (unfinished / "person_keypoints.json").write_text(json.dumps(content), encoding="utf-8")
    return len(people)


def draw_scene(rng: np.random.Generator) -> tuple[Image, list[dict[str, Any]]]:
    """Draw an image (H, W, 3) in BGR; return it with its people as COCO annotations without ids."""
    height, width = SIDES[rng.integers(len(SIDES))]
    picture = background(height, width, rng)
    owners = np.zeros((height, width), np.uint8)  # instance mask: number of the person, 0 for background
    bodies = []
    for owner in range(1, 2 + int(rng.integers(4))):
        size = height * rng.uniform(0.35, 0.9)
        middle = rng.uniform((0.15 * width, 0.35 * height), (0.85 * width, 0.65 * height))
        points = _pose(middle, size, rng)
        draw_body(picture, owners, owner, points, rng)
        bodies.append((points, owners == owner))
    for _ in range(rng.integers(3)):  # occluders
        _draw_shape(picture, owners, rng)
    noise = rng.normal(0, rng.uniform(0, 12), picture.shape)
    people = [_annotation(points, drawn, owners == owner) for owner, (points, drawn) in enumerate(bodies, 1)]
    return (picture + noise).clip(0, 255).astype(np.uint8), [person for person in people if person]


def _annotation(points: Points, drawn: NDArray[np.bool_], left: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO annotation of a person from their `drawn` and still visible (`left`) pixels; empty if hardly visible."""
    height, width = drawn.shape
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    if left.sum() < 400:
        return {}
    x, y, right, bottom = (int(edge) for edge in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    cells = points[:, :2].round().astype(int)
    inside = ((cells >= 0) & (cells < (width, height))).all(1)
    seen = left[cells[:, 1].clip(0, height - 1), cells[:, 0].clip(0, width - 1)] & (points[:, 2] == SEEN)
    visibility = np.where(inside, np.where(seen, SEEN, HIDDEN), 0)
    keypoints = np.where(inside[:, None], points[:, :2].round(2), 0)
    return {
        "category_id": 1,
        "bbox": [x, y, right - x, bottom - y],
        "area": float(left.sum()),
        "iscrowd": 0,
        "keypoints": np.column_stack((keypoints, visibility)).ravel().tolist(),
        "num_keypoints": int(inside.sum()),
    }


def _pose(middle: Points, size: float, rng: np.random.Generator) -> Points:
    """Random pose (17, 3) of a body of `size` px with the torso's centre at `middle`: x, y in px, HIDDEN or SEEN."""
    points: dict[str, tuple[float, ...]] = {}
    up = _direction(rng.normal(0, 0.3))
    behind = rng.random() < 0.2  # seen from behind: no face, and the person's left is on the image's left
    across = np.array((-up[1], up[0])) * (-1 if behind else 1) * rng.uniform(0.35, 1)  # narrower when turned
    shoulders, hips = middle + up * TORSO / 2 * size, middle - up * TORSO / 2 * size
    head_up = _direction(rng.normal(np.arctan2(up[0], -up[1]), 0.25))
    head = shoulders + head_up * (NECK + HEAD) * size
    turned = rng.uniform(-0.5, 0.5)
    for name, (sideways, down) in FACE.items():
        point = head + across * (sideways + turned * (abs(sideways) < 0.9)) * HEAD * size - head_up * down * HEAD * size
        points[name] = (*point, HIDDEN if behind and "ear" not in name else SEEN)
    for side, sign in (("left", 1), ("right", -1)):
        shoulder, hip = shoulders + sign * across * SHOULDER * size, hips + sign * across * HIP * size
        down = np.arctan2(-up[0], up[1])  # direction of a hanging limb
        arm = limb(shoulder, down, rng.uniform((-0.4, -0.2), (2.6, 2.2)) * sign, np.array(ARM) * size)
        leg = limb(hip, down, rng.uniform((-0.4, -1.4), (1.0, 0.2)) * sign, np.array(LEG) * size)
        places = zip(("shoulder", "elbow", "wrist", "hip", "knee", "ankle"), (*arm, *leg), strict=True)
        points |= {f"{side}_{name}": (*point, SEEN) for name, point in places}
    return np.array([points[name] for name in COCO17.joints])


def limb(root: Points, down: float, bends: Points, lengths: Points) -> tuple[Points, Points, Points]:
    """Root, middle and end point of a two-part limb; `bends` are the angles in radians relative to the part before."""
    first, second = down - np.cumsum(bends)
    middle = root + _direction(first) * lengths[0]
    return root, middle, middle + _direction(second) * lengths[1]


def _direction(angle: float) -> Points:
    """Unit vector at an angle in radians; 0 points up in the image."""
    return np.array((np.sin(angle), -np.cos(angle)))


def draw_body(picture: Image, owners: Image, owner: int, points: Points, rng: np.random.Generator) -> None:
    """Draw a body with joints (17, 3) on a picture (H, W, 3), and its number on the owners (H, W), in place."""
    size = float(np.linalg.norm(points[5, :2] - points[11, :2])) / TORSO  # from shoulder to hip
    at = dict(zip(COCO17.joints, points[:, :2], strict=True))
    skin, shirt, trousers = _colour(rng), _colour(rng), _colour(rng)
    sleeve = shirt if rng.random() < 0.5 else skin

    def stroke(colour: tuple[float, ...], width: float, *names: str) -> None:
        for begin, end in pairwise(names):
            ends = np.array([[at[begin], at[end]]]).round().astype(np.int32)
            cv2.polylines(picture, ends, False, colour, max(2, round(width * size)), cv2.LINE_AA)
            cv2.polylines(owners, ends, False, owner, max(2, round(width * size)))

    def fill(colour: tuple[float, ...], *names: str) -> None:
        outline = np.array([at[name] for name in names]).round().astype(np.int32)
        cv2.fillPoly(picture, [outline], colour, cv2.LINE_AA)
        cv2.fillPoly(owners, [outline], owner)

    at["neck"] = (at["left_shoulder"] + at["right_shoulder"]) / 2
    at["crown"] = (at["left_ear"] + at["right_ear"]) / 2
    for side in ("left", "right"):
        stroke(trousers, LEG_WIDTH, f"{side}_hip", f"{side}_knee", f"{side}_ankle")
    fill(shirt, "left_shoulder", "right_shoulder", "right_hip", "left_hip")
    stroke(shirt, 0.05, "left_shoulder", "right_shoulder", "right_hip", "left_hip", "left_shoulder")
    stroke(skin, 0.05, "neck", "crown")
    stroke(skin, 2.1 * HEAD, "crown", "crown")
    for name, visibility in zip(COCO17.joints[:3], points[:3, 2], strict=True):
        if visibility == SEEN:
            stroke((20, 20, 20) if "eye" in name else _colour(rng), 0.016, name, name)
    for side in ("left", "right"):
        stroke(sleeve, ARM_WIDTH, f"{side}_shoulder", f"{side}_elbow")
        stroke(skin, 0.8 * ARM_WIDTH, f"{side}_elbow", f"{side}_wrist")


def background(height: int, width: int, rng: np.random.Generator) -> Image:
    """A picture (H, W, 3) in BGR of clutter, without anybody."""
    corners = rng.integers(0, 256, (2, 2, 3)).astype(np.uint8)
    picture = np.asarray(cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    nobody = np.zeros((height, width), np.uint8)
    for _ in range(rng.integers(10, 50)):
        _draw_shape(picture, nobody, rng)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 3)), np.uint8)


def _draw_shape(picture: Image, owners: Image, rng: np.random.Generator) -> None:
    """Draw a random rectangle, ellipse or line as clutter and mark its pixels as background."""
    height, width = owners.shape
    centre = (int(rng.integers(width)), int(rng.integers(height)))
    axes = tuple(int(side) for side in rng.integers(4, max(8, height // 6), 2))
    angle, colour, kind = rng.uniform(0, 180), _colour(rng), rng.integers(3)
    for canvas, paint in ((picture, colour), (owners, 0)):
        if kind == 0:
            cv2.ellipse(canvas, centre, axes, angle, 0, 360, paint, -1)
        elif kind == 1:
            box = cv2.boxPoints((centre, axes, angle))
            cv2.fillPoly(canvas, [box.round().astype(np.int32)], paint)
        else:
            cv2.line(canvas, centre, (centre[0] + 3 * axes[0] - height // 4, centre[1] + axes[1]), paint, 6)


def _colour(rng: np.random.Generator) -> tuple[float, ...]:
    return tuple(float(value) for value in rng.integers(0, 256, 3))

"""Geometric augmentation: random affines and mirroring of people, batched in NumPy; `model.pixels` samples pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .crop import Affines
from .skeleton import Skeleton
from .spec import PoseSpec


@dataclass(frozen=True)
class Augmentation:
    """Augmentation settings. The defaults are the paper's (section 3)."""

    rotation_deg: float = 45.0
    """Rotation is uniform within plus and minus this."""
    scale: tuple[float, float] = (0.65, 1.35)
    """Scale of the view relative to the person's crop, uniform."""
    mirrored: float = 0.5
    """Share of views that are mirrored."""
    half_body: float = 0.0
    """Share of people cropped to the upper or lower half of the body (HRNet: 0.3)."""
    brightness: float = 0.0
    """Pixel values are multiplied by 1 plus or minus at most this, independently for each colour."""

    def __post_init__(self) -> None:
        if not (0 <= self.mirrored <= 1 and 0 <= self.half_body <= 1 and 0 < self.scale[0] <= self.scale[1]):
            raise ValueError(f"{self}: shares lie between 0 and 1, and scale is a positive range")


NONE = Augmentation(rotation_deg=0, scale=(1, 1), mirrored=0)

MARGIN = 1.25  # side of a stored crop relative to that of the view in its middle
HALF_BODY_JOINTS = 3  # labelled joints that a half needs
HALF_BODY_PADDING = 1.5  # HRNet: the body extends beyond its joints


@dataclass(frozen=True)
class Views:
    """Random views of N stored crops."""

    affines: Affines
    """(N, 2, 3) affines from px of the view to px of the stored crop, including the mirroring."""
    mirrored: NDArray[np.bool_]
    """(N,) whether the view is mirrored, so that left and right joints must be swapped."""
    gains: NDArray[np.float32]
    """(N, 3) factors of the pixel values, RGB."""

    def take(self, rows: slice) -> "Views":
        """A slice of the views."""
        return Views(self.affines[rows], self.mirrored[rows], self.gains[rows])


def draw_views(
    keypoints: NDArray[np.float64],
    stored_size: tuple[int, int],
    spec: PoseSpec,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> Views:
    """Draw random views of people with keypoints (N, K, 3) in px of their stored crops.

    `stored_size` is (height, width). A view without rotation and scaling is the stored crop without its margin.
    """
    people = len(keypoints)
    sides = np.array(spec.input_size[::-1], dtype=np.float64)
    centre = np.tile((np.array(stored_size[::-1]) - 1) / 2, (people, 1))
    zoom = np.full(people, stored_size[0] / (MARGIN * spec.input_size[0]))
    wanted = rng.random(people) < augmentation.half_body
    half_centre, half_zoom, whole = _half_bodies(keypoints, rng.random(people) < 0.5, sides, spec.skeleton)
    halved = wanted & whole
    centre[halved], zoom[halved] = half_centre[halved], half_zoom[halved]
    zoom *= rng.uniform(*augmentation.scale, people)
    angle = np.deg2rad(rng.uniform(-1, 1, people) * augmentation.rotation_deg)
    mirrored = rng.random(people) < augmentation.mirrored
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    side = np.where(mirrored, -1, 1)
    linear = np.stack((side * cosine, -sine, side * sine, cosine), axis=1).reshape(people, 2, 2)
    shift = centre - linear @ ((sides - 1) / 2)
    gains = 1 + augmentation.brightness * rng.uniform(-1, 1, (people, 3))
    return Views(np.concatenate((linear, shift[:, :, None]), axis=2), mirrored, gains.astype(np.float32))


def view_keypoints(keypoints: NDArray[np.float64], views: Views, skeleton: Skeleton) -> NDArray[np.float64]:
    """Map keypoints (N, K, 3) from stored crops to px of their views; left and right are swapped if mirrored."""
    linear = np.linalg.inv(views.affines[:, :, :2])
    points = (keypoints[..., :2] - views.affines[:, None, :, 2]) @ linear.transpose(0, 2, 1)
    seen = np.concatenate((points, keypoints[..., 2:]), axis=2)
    return np.where(views.mirrored[:, None, None], seen[:, list(skeleton.mirror)], seen)


def _half_bodies(
    keypoints: NDArray[np.float64], upper: NDArray[np.bool_], sides: NDArray[np.float64], skeleton: Skeleton
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Centre (N, 2) and zoom (N,) of the half's padded box, and whether it has enough labelled joints (N,)."""
    above = np.isin(np.arange(len(skeleton)), skeleton.upper_body)
    wanted = (keypoints[..., 2] > 0) & (above == upper[:, None])
    low = np.where(wanted[..., None], keypoints[..., :2], np.inf).min(1)
    high = np.where(wanted[..., None], keypoints[..., :2], -np.inf).max(1)
    two_halves = 0 < above.sum() < len(above)  # a hand has none
    whole = (wanted.sum(1) >= HALF_BODY_JOINTS) & two_halves
    low, high = np.where(whole[:, None], low, 0), np.where(whole[:, None], high, 1)
    zoom = HALF_BODY_PADDING * ((high - low) / sides).max(1)
    return (low + high) / 2, zoom, whole & (zoom > 0.1)  # smaller zooms would be blurred

"""Random views of a person: which affine, and whether mirrored. Batched, in NumPy; the pixels follow elsewhere."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .crop import Affines
from .skeleton import Skeleton
from .spec import PoseSpec


@dataclass(frozen=True)
class Augmentation:
    """How far a view may stray. The defaults are the paper's (section 3)."""

    rotation_deg: float = 45.0
    """Uniform within plus and minus this."""
    scale: tuple[float, float] = (0.65, 1.35)
    """Uniform size of the view against the person's crop."""
    mirrored: float = 0.5
    """Share of views that are mirrored."""
    half_body: float = 0.0
    """Share of people of whom the upper or the lower half is shown (HRNet: 0.3)."""
    brightness: float = 0.0
    """Grey values are multiplied by 1 within plus and minus this, each colour apart."""

    def __post_init__(self) -> None:
        if not (0 <= self.mirrored <= 1 and 0 <= self.half_body <= 1 and 0 < self.scale[0] <= self.scale[1]):
            raise ValueError(f"{self}: shares lie between 0 and 1, and scale is a positive range")


NONE = Augmentation(rotation_deg=0, scale=(1, 1), mirrored=0)

MARGIN = 1.25  # a stored crop's sides against those of the view in its middle
HALF_BODY_JOINTS = 3  # as many must be labelled in a half for it to be shown
HALF_BODY_PADDING = 1.5  # HRNet: joints lie within the body, not on its edge


@dataclass(frozen=True)
class Views:
    """Random views of N stored crops."""

    affines: Affines
    """(N, 2, 3) from px of the view to px of the stored crop; a mirrored one is mirrored in it."""
    mirrored: NDArray[np.bool_]
    """(N,) whose left and right joints change places."""
    gains: NDArray[np.float32]
    """(N, 3) factors of the grey values, RGB."""

    def take(self, rows: slice) -> "Views":
        """Some of the views."""
        return Views(self.affines[rows], self.mirrored[rows], self.gains[rows])


def draw_views(
    keypoints: NDArray[np.float64],
    stored_size: tuple[int, int],
    spec: PoseSpec,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> Views:
    """Views of people whose keypoints (N, K, 3) are in px of their stored crops of `stored_size` (height, width).

    A view that is neither rotated nor scaled is the person's crop: all of the stored one but its margin.
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
    """Keypoints (N, K, 3) of stored crops in px of their views, left and right exchanged where mirrored."""
    linear = np.linalg.inv(views.affines[:, :, :2])
    points = (keypoints[..., :2] - views.affines[:, None, :, 2]) @ linear.transpose(0, 2, 1)
    seen = np.concatenate((points, keypoints[..., 2:]), axis=2)
    return np.where(views.mirrored[:, None, None], seen[:, list(skeleton.mirror)], seen)


def _half_bodies(
    keypoints: NDArray[np.float64], upper: NDArray[np.bool_], sides: NDArray[np.float64], skeleton: Skeleton
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Centre (N, 2) and zoom (N,) of the half's padded box, and whether enough of it is labelled (N,)."""
    above = np.isin(np.arange(len(skeleton)), skeleton.upper_body)
    wanted = (keypoints[..., 2] > 0) & (above == upper[:, None])
    low = np.where(wanted[..., None], keypoints[..., :2], np.inf).min(1)
    high = np.where(wanted[..., None], keypoints[..., :2], -np.inf).max(1)
    whole = wanted.sum(1) >= HALF_BODY_JOINTS
    low, high = np.where(whole[:, None], low, 0), np.where(whole[:, None], high, 1)
    zoom = HALF_BODY_PADDING * ((high - low) / sides).max(1)
    return (low + high) / 2, zoom, whole & (zoom > 0.1)  # a view of a tenth would be blur

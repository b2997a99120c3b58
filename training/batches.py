"""From a pack to batches on the device: which people, which views, and their targets."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..model.pixels import encode, warp
from ..pose.augment import NONE, Augmentation, Views, draw_views, view_keypoints
from ..pose.heatmap import HEATMAP_STRIDE, crop_to_cells
from ..pose.spec import PoseSpec
from .pack import Pack

DECODE_BATCH = 256


@lru_cache(maxsize=1)
def _order(seed: int, epoch: int, people: int) -> NDArray[np.int64]:
    """The order of an epoch, drawn once for all of its steps."""
    return np.random.default_rng((seed, epoch)).permutation(people)


@dataclass(frozen=True)
class Batch:
    """What one step learns from."""

    crops: Tensor
    """(N, 3, H, W) normalised."""
    heatmaps: Tensor
    """(N, K, h, w) targets."""
    weights: Tensor
    """(N, K) 1 where a label lies within the view, else 0."""


class Batches:
    """A pack whose stored crops lie decoded on the device, and from which views are drawn there.

    The batch of a step depends on the seed and the step alone, so that a resumed run sees what an unbroken one saw.
    """

    def __init__(self, pack: Pack, spec: PoseSpec, device: torch.device, seed: int) -> None:
        joints = pack.keypoints.shape[1]
        if not len(pack):
            raise ValueError("nobody is left to train on: every image of the pack is held out")
        if joints != len(spec.joints):
            raise ValueError(f"the pack has {joints} joints, but {spec.skeleton} has {len(spec.joints)}")
        self.pack, self.spec, self.device, self.seed = pack, spec, device, seed
        stored = torch.empty((len(pack), *pack.size, 3), dtype=torch.uint8, device=device)
        with ThreadPoolExecutor() as threads:
            for start in range(0, len(pack), DECODE_BATCH):
                rows = np.arange(start, min(start + DECODE_BATCH, len(pack)))
                stored[start : start + len(rows)] = torch.from_numpy(pack.decode(rows, threads)).to(device)
        self.stored = stored

    def of_step(self, step: int, size: int, augmentation: Augmentation) -> Batch:
        """The batch of a step: every person once an epoch, in an order that changes with the epoch."""
        per_epoch = max(1, len(self.pack) // size)
        epoch, place = divmod(step, per_epoch)
        rows = _order(self.seed, epoch, len(self.pack))[place * size : (place + 1) * size]
        rng = np.random.default_rng((self.seed, epoch, step))
        return self.views(rows, draw_views(self.pack.keypoints[rows], self.pack.size, self.spec, augmentation, rng))

    def views(self, rows: NDArray[np.integer], views: Views) -> Batch:
        """The views of some people."""
        keypoints = view_keypoints(self.pack.keypoints[rows], views, self.spec.joints)
        height, width = self.spec.input_size
        grid = (height // HEATMAP_STRIDE, width // HEATMAP_STRIDE)
        cells = crop_to_cells(keypoints[..., :2])
        reach = 3 * self.spec.sigma  # HRNet: a Gaussian that does not touch the heatmap teaches nothing
        inside = ((cells > -reach) & (cells < np.array(grid[::-1]) - 1 + reach)).all(2)
        weights = (keypoints[..., 2] > 0) & inside
        stored = self.stored[torch.from_numpy(rows).to(self.device)]
        crops = warp(stored, self._tensor(views.affines), self.spec, self._tensor(views.gains))
        return Batch(crops, encode(self._tensor(cells), grid, self.spec.sigma), self._tensor(weights))

    def plain(self, size: int) -> Iterator[tuple[Tensor, NDArray[np.float64], NDArray[np.float64]]]:
        """Everyone once, as they are: crops, keypoints (n, K, 3) in crop px, and areas (n,) in crop px^2."""
        for start in range(0, len(self.pack), size):
            rows = np.arange(start, min(start + size, len(self.pack)))
            stored = self.pack.keypoints[rows]
            views = draw_views(stored, self.pack.size, self.spec, NONE, np.random.default_rng(0))
            zoom = np.linalg.det(views.affines[:, :, :2])
            keypoints = view_keypoints(stored, views, self.spec.joints)
            yield self.views(rows, views).crops, keypoints, self.pack.areas[rows] / zoom

    def _tensor(self, array: NDArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(self.device, non_blocking=True)

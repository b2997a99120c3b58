"""Training batches from a pack: sampling of people, augmentation, and target heatmaps, on the device."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..model.pixels import encode, warp
from ..pose.augment import NONE, Augmentation, Views, draw_views, view_keypoints
from ..pose.frame import crop_to_cells
from ..pose.spec import PoseSpec
from .pack import Pack
from .stored import Rows, store

PlainBatch = tuple[Rows, Tensor, NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Batch:
    """Inputs and targets of a training step."""

    crops: Tensor
    """(N, 3, H, W) normalized RGB crops."""
    heatmaps: Tensor
    """(N, K, h, w) target heatmaps."""
    weights: Tensor
    """(N, K) 1 for a labelled joint within the view, else 0."""

    def split(self, pieces: int) -> "Iterator[Batch]":
        """Split the batch into `pieces` equal parts."""
        crops, heatmaps, weights = (each.chunk(pieces) for each in (self.crops, self.heatmaps, self.weights))
        yield from map(Batch, crops, heatmaps, weights)


class Batches:
    """Loader that samples augmented views of a pack's stored crops on the device.

    A step's batch depends only on the seed and the step, so that a resumed run sees the same batches. `mix` sets how
    often an epoch shows the people of a source (a folder's name): 2 is twice, 0.5 every second person.
    """

    def __init__(
        self,
        pack: Pack,
        spec: PoseSpec,
        device: torch.device,
        *,
        seed: int = 0,
        mix: Mapping[str, float] | None = None,
        room: int | None = None,
    ) -> None:
        joints = pack.keypoints.shape[1]
        if not len(pack):
            raise ValueError("no people are left to train on: every image of the pack is held out")
        if joints != len(spec.skeleton):
            raise ValueError(f"the pack has {joints} joints, but {spec.skeleton.name} has {len(spec.skeleton)}")
        self.pack, self.spec, self.device, self.seed = pack, spec, device, seed
        self._shares = _shares(pack, mix or {})
        self.epoch_people = sum(round(len(rows) * share) for rows, share in self._shares)
        self._order = lru_cache(maxsize=2)(self._draw_order)
        self._stored = store(pack, device, room)

    def of_step(self, step: int, size: int, augmentation: Augmentation, share: int = 0, shares: int = 1) -> Batch:
        """Part `share` of `shares` equal parts of a step's batch of `size` people, the same for any `shares`."""
        rows = self._rows(step, size)
        rng = np.random.default_rng((self.seed, step))
        views = draw_views(self.pack.keypoints[rows], self.pack.size, self.spec, augmentation, rng)
        mine = slice(share * size // shares, (share + 1) * size // shares)
        stored = self._stored.take(rows[mine], following=self._rows(step + 1, size)[mine])
        return self._batch(stored, rows[mine], views.take(mine))

    def plain(self, size: int, first: int = 0, every: int = 1) -> Iterator[PlainBatch]:
        """Yield batches without augmentation: every `every`-th person from `first` on, once.

        Each holds rows (n,) of the pack, crops, keypoints (n, K, 3) in crop px, and areas (n,) in crop px^2.
        """
        chosen = np.arange(first, len(self.pack), every)
        for rows in np.split(chosen, range(size, len(chosen), size)):
            stored = self.pack.keypoints[rows]
            views = draw_views(stored, self.pack.size, self.spec, NONE, np.random.default_rng(0))
            zoom = np.linalg.det(views.affines[:, :, :2])
            keypoints = view_keypoints(stored, views, self.spec.skeleton)
            yield rows, self._batch(self._stored.take(rows), rows, views).crops, keypoints, self.pack.areas[rows] / zoom

    def _batch(self, stored: Tensor, rows: Rows, views: Views) -> Batch:
        keypoints = view_keypoints(self.pack.keypoints[rows], views, self.spec.skeleton)
        grid = self.spec.grid
        cells = crop_to_cells(keypoints[..., :2], self.spec)
        reach = 3 * self.spec.sigma  # HRNet: ignore joints whose Gaussian does not touch the heatmap
        inside = ((cells > -reach) & (cells < np.array(grid[::-1]) - 1 + reach)).all(2)
        weights = (keypoints[..., 2] > 0) & inside
        crops = warp(stored, self._tensor(views.affines), self.spec, self._tensor(views.gains))
        return Batch(crops, encode(self._tensor(cells), grid, self.spec.sigma), self._tensor(weights))

    def _rows(self, step: int, size: int) -> Rows:
        """Rows of a step's batch, from a shuffled order of the epoch in which people occur as `mix` says."""
        epoch, index = divmod(step, max(1, self.epoch_people // size))
        return self._order(epoch)[index * size : (index + 1) * size]

    def _draw_order(self, epoch: int) -> Rows:
        rng = np.random.default_rng((self.seed, epoch, 0))
        if all(share == 1 for _, share in self._shares):
            return rng.permutation(len(self.pack))
        shown = [np.resize(rng.permutation(rows), round(len(rows) * share)) for rows, share in self._shares]
        return rng.permutation(np.concatenate(shown))

    def _tensor(self, array: NDArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(self.device, non_blocking=True)


def _shares(pack: Pack, mix: Mapping[str, float]) -> list[tuple[Rows, float]]:
    """The rows of each source, and how often an epoch shows them."""
    known = np.unique(pack.sources).tolist()
    unknown = set(mix) - set(known)
    if unknown or any(not 0 <= share < np.inf for share in mix.values()):
        raise ValueError(f"the mix {dict(mix)} does not fit the pack: expected shares from 0 for {', '.join(known)}")
    return [(np.flatnonzero(pack.sources == name), mix.get(name, 1.0)) for name in known]

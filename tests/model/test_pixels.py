"""Crops and targets in torch against their NumPy definitions."""

import numpy as np
import torch

from lehrnet.model.pixels import encode, warp
from lehrnet.pose import heatmap
from lehrnet.pose.augment import Augmentation, draw_views
from lehrnet.pose.crop import sample_bilinear
from lehrnet.pose.spec import COCO


def test_a_warp_is_the_definitions_sampling_and_normalizing() -> None:
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 256, (4, 320, 240, 3), dtype=np.uint8)
    views = draw_views(rng.uniform(0, 200, (4, 17, 3)), (320, 240), COCO, Augmentation(), rng)
    affines = torch.from_numpy(views.affines.astype(np.float32))
    found = warp(torch.from_numpy(stored), affines, COCO).numpy()
    for picture, affine, crop in zip(stored, views.affines, found, strict=True):
        expected = (sample_bilinear(picture, affine, COCO.input_size) / 255 - COCO.mean) / COCO.std
        # float32 places are off by up to 1e-4 px, and noise rises by 255 grey levels a px
        np.testing.assert_allclose(crop, expected.transpose(2, 0, 1), atol=2e-3)


def test_gains_brighten_and_clip() -> None:
    stored = torch.full((1, 320, 240, 3), 200, dtype=torch.uint8)
    affines = torch.tensor([[[1.0, 0, 20], [0, 1, 20]]])
    crop = warp(stored, affines, COCO, torch.tensor([[0.5, 1.0, 2.0]]))
    grey = (crop[0, :, 100, 100] * torch.tensor(COCO.std) + torch.tensor(COCO.mean)) * 255
    torch.testing.assert_close(grey, torch.tensor([100.0, 200, 255]), atol=1e-3, rtol=0)


def test_targets_are_the_definitions() -> None:
    cells = np.random.default_rng(0).uniform(-4, 60, (3, 17, 2)).astype(np.float32)
    found = encode(torch.from_numpy(cells), (64, 48), 2.0).numpy()
    np.testing.assert_allclose(found, heatmap.encode(cells, (64, 48), 2.0), atol=1e-6)

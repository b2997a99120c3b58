"""Crops and target heatmaps in torch, computed on the training device. The definitions are in `pose/`."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..pose.spec import PoseSpec


def warp(stored: Tensor, affines: Tensor, spec: PoseSpec, gains: Tensor | None = None) -> Tensor:
    """Sample normalized crops (N, 3, H, W) from stored RGB crops (N, Hs, Ws, 3) of uint8.

    `affines` (N, 2, 3) map px of the crop to px of the stored one; sampling is bilinear, black outside. `gains`
    (N, 3) multiply the pixel values.
    """
    height, width = spec.input_size
    size = affines.new_tensor([stored.shape[2], stored.shape[1]])
    x, y = torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")
    places = torch.stack((x, y, torch.ones_like(x)), -1).reshape(-1, 3).to(affines)
    # In grid_sample's coordinates -1 and 1 are the outer edges of the outer pixels.
    grid = (2 * (places @ affines.transpose(1, 2)) + 1) / size - 1
    pixels = stored.permute(0, 3, 1, 2).float()
    crops = F.grid_sample(pixels, grid.reshape(-1, height, width, 2), align_corners=False)
    if gains is not None:
        crops = (crops * gains[:, :, None, None]).clamp(max=255)
    mean, std = (crops.new_tensor(values)[:, None, None] for values in (spec.mean, spec.std))
    return (crops / 255 - mean) / std


def encode(cells: Tensor, grid: tuple[int, int], sigma: float) -> Tensor:
    """Target heatmaps (N, K, h, w): Gaussians at points (N, K, 2) in cells, as `pose.heatmap.encode`, unbiased."""
    height, width = grid
    columns = torch.exp(-((torch.arange(width).to(cells) - cells[..., :1]) ** 2) / (2 * sigma**2))
    rows = torch.exp(-((torch.arange(height).to(cells) - cells[..., 1:]) ** 2) / (2 * sigma**2))
    return rows[..., :, None] * columns[..., None, :]

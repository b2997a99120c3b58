"""Efficient multi-scale attention by its exact algebra (paper, section 2.3).

The published module reshapes (N, C, H, W) to (N*G, C/G, H, W) and runs two softmaxes, a norm and two matrix
products there (`forms.published` keeps that form). The same result can be computed at a lower cost:

1. GroupNorm with one channel a group has a spatial mean of exactly its bias, so the softmax that weighs the
   3x3 branch is a constant of the weights, and that branch is one depthwise conv summed over the group.
2. The spatial mean of a 3x3 conv is linear in nine shifted window sums of its input, so the softmax that weighs
   the gated branch needs no convolution over positions.
3. Where a group is one channel both softmaxes are 1, and nothing is left to sum.

All of it is differentiable: the network trains in this form.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Grid = tuple[int, int]
"""Height and width of a feature map in cells."""


class EMAConstants(NamedTuple):
    """Inputs of `attend` that depend only on the weights and the grid. c = C / groups."""

    gate: Tensor
    """(C, c, 1, 1) the 1x1 conv, repeated for every group."""
    gate_bias: Tensor
    """(C,)"""
    local: Tensor
    """(C, 1, 3, 3) the 3x3 conv, its outputs weighed by the constant softmax."""
    local_bias: Tensor
    """(C,)"""
    scale: Tensor
    """(C,) the norm's affine."""
    shift: Tensor
    """(C,)"""
    mean: Tensor
    """(C, c, 3, 3) from nine window sums to the mean of the 3x3 conv."""
    mean_bias: Tensor
    """(C,)"""
    window_rows: Tensor
    """(3, H) of 0 and 1: the rows that the kernel's upper, middle and lower taps see."""
    window_columns: Tensor
    """(W, 3) likewise for the left, middle and right taps."""


class EMA(nn.Module):
    """Weighs a map (N, C, H, W) by attention within `groups` groups of its channels; same shape out.

    The parameters are the published module's: a 1x1 conv, a 3x3 conv and a norm, shared by all groups.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(f"{channels} channels do not divide into {groups} groups")
        width = channels // groups
        self.groups = groups
        self.pointwise = nn.Conv2d(width, width, 1)
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(width, width)

    def constants(self, grid: Grid) -> EMAConstants:
        """Compute the constants for maps of `grid` (height, width)."""
        height, width = grid
        conv, conv_bias = self.conv.weight, _present(self.conv.bias)
        share = self.norm.bias.softmax(0)  # the mean of GroupNorm's output is its bias
        local = torch.einsum("o,oikl->ikl", share, conv)[:, None]

        def every_group(tensor: Tensor) -> Tensor:
            return tensor.repeat(self.groups, *[1] * (tensor.ndim - 1))

        return EMAConstants(
            gate=every_group(self.pointwise.weight),
            gate_bias=every_group(_present(self.pointwise.bias)),
            local=every_group(local),
            local_bias=every_group(share * conv_bias),
            scale=every_group(self.norm.weight),
            shift=every_group(self.norm.bias),
            mean=every_group(conv / (height * width)),
            mean_bias=every_group(conv_bias),
            window_rows=windows(height, like=conv).T,
            window_columns=windows(width, like=conv),
        )

    def forward(self, x: Tensor) -> Tensor:
        grid = (x.shape[2], x.shape[3])
        return attend(x, self.constants(grid), self.groups, grid, self.norm.eps)


def attend(x: Tensor, constants: EMAConstants, groups: int, grid: Grid, eps: float) -> Tensor:
    """EMA of a map (N, C, H, W) whose grid is (H, W)."""
    weights = _weights(x, constants, groups, grid, eps)
    if weights.shape[1] == x.shape[1]:
        return x * weights.sigmoid()
    channels, width = constants.scale.shape[0], constants.gate.shape[1]
    groups_of_x = x.reshape(-1, groups, width, grid[0] * grid[1])
    return (groups_of_x * weights.sigmoid()).reshape(-1, channels, *grid)


def _weights(x: Tensor, constants: EMAConstants, groups: int, grid: Grid, eps: float) -> Tensor:
    """Logits of the weights: (N, C, H, W) where a group is one channel, else (N, groups, 1, H*W)."""
    gate_rows = F.conv2d(x.mean(3, keepdim=True), constants.gate, constants.gate_bias, groups=groups).sigmoid()
    gate_columns = F.conv2d(x.mean(2, keepdim=True), constants.gate, constants.gate_bias, groups=groups).sigmoid()
    # One outer product and one contiguous product beat two broadcast ones (docs/decisions/0003).
    gated = x * (gate_rows @ gate_columns)
    gated = F.instance_norm(gated, weight=constants.scale, bias=constants.shift, eps=eps)
    local = F.conv2d(x, constants.local, constants.local_bias, padding=1, groups=constants.local.shape[0])
    width = constants.gate.shape[1]
    if width == 1:
        return local + gated
    windows = constants.window_rows @ x @ constants.window_columns
    mean = F.conv2d(windows, constants.mean, constants.mean_bias, groups=groups)
    share = mean.reshape(-1, groups, 1, width).softmax(3)
    cells = (-1, groups, width, grid[0] * grid[1])
    return torch.ones_like(constants.scale[:width])[None] @ local.reshape(cells) + share @ gated.reshape(cells)


def windows(size: int, like: Tensor) -> Tensor:
    """(size, 3) of 0 and 1: which cells a 3-tap kernel's taps see as it slides over `size` cells, zero-padded."""
    seen = like.new_ones(size, 3)
    seen[-1, 0] = 0
    seen[0, 2] = 0
    return seen


def _present(bias: Tensor | None) -> Tensor:
    assert bias is not None
    return bias

"""EMA for inference: all functions of the weights are precomputed for one grid."""

import torch
from torch import Tensor, nn

from ..ema import EMA, EMAConstants, Grid, attend
from ..grids import output_grids
from ..network import PoseNetwork
from .rewrite import rewrite


class FrozenEMA(nn.Module):
    """An EMA with precomputed constants, for maps (N, C, H, W) of one grid."""

    def __init__(self, ema: EMA, grid: Grid) -> None:
        super().__init__()
        self.groups, self.grid, self.eps = ema.groups, grid, ema.norm.eps
        with torch.no_grad():
            constants = ema.constants(grid)
        for name, tensor in constants._asdict().items():
            self.register_buffer(name, tensor.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        constants = EMAConstants(*(self.get_buffer(name) for name in EMAConstants._fields))
        return attend(x, constants, self.groups, self.grid, self.eps)


GROUP_WEIGHTS = ("gate", "gate_bias", "local", "local_bias", "scale", "shift", "mean", "mean_bias")
"""Weights of the fused EMA kernels, in their order: runtime/kernels/attention.h."""


def group_weights(module: FrozenEMA) -> dict[str, Tensor]:
    """The constants of one group, which all groups share; the biases of the 3x3 conv are summed like its outputs."""
    width = module.get_buffer("gate").shape[1]
    weights = {name: module.get_buffer(name)[:width].contiguous() for name in GROUP_WEIGHTS}
    return {**weights, "local_bias": weights["local_bias"].sum(0, keepdim=True)}


def freeze_attention(network: PoseNetwork, input_size: Grid) -> PoseNetwork:
    """A copy whose EMAs are frozen for crops of `input_size` (height, width)."""
    grids = output_grids(network, (EMA,), input_size)
    return rewrite(network, lambda path, module: FrozenEMA(module, grids[path]) if isinstance(module, EMA) else module)

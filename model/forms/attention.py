"""EMA for inference: every function of the weights computed once, for one grid."""

import torch
from torch import Tensor, nn

from ..ema import EMA, EMAConstants, Grid, attend
from ..grids import output_grids
from ..network import PoseNetwork
from .rewrite import rewrite


class FrozenEMA(nn.Module):
    """An EMA whose constants are stored; it takes maps (N, C, H, W) of one grid, any N."""

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


def freeze_attention(network: PoseNetwork, input_size: Grid) -> PoseNetwork:
    """A copy whose EMAs are frozen for crops of `input_size` (height, width)."""
    grids = output_grids(network, (EMA,), input_size)
    return rewrite(network, lambda path, module: FrozenEMA(module, grids[path]) if isinstance(module, EMA) else module)

"""EMA for inference: every function of the weights computed once, for one grid."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..ema import EMA, EMAConstants, Grid, attend
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
    grids = _attention_grids(network, input_size)
    position = iter(grids.values())
    return rewrite(network, lambda module: FrozenEMA(module, next(position)) if isinstance(module, EMA) else module)


def _attention_grids(network: PoseNetwork, input_size: Grid) -> Mapping[str, Grid]:
    """The grid that each EMA sees, by module path: found by one pass without data."""
    shadow = PoseNetwork(network.config).to("meta")
    grids: dict[str, Grid] = {name: (0, 0) for name, module in shadow.named_modules() if isinstance(module, EMA)}

    def record(name: str, x: Tensor) -> None:
        grids[name] = (x.shape[2], x.shape[3])

    for name in grids:
        shadow.get_submodule(name).register_forward_pre_hook(lambda _, inputs, name=name: record(name, inputs[0]))
    shadow(torch.empty(1, 3, *input_size, device="meta"))
    return grids

"""Parameters and multiply-adds of a network, by stage, by branch and by kind of block.

Multiply-adds ("FLOPs" in the paper and in HRNet's literature) are counted for one crop, over convolutions and matrix
products; norms, activations, sums and resizing do not count. EMA is counted as published, so that the figure does not
depend on the form in which the network runs.
"""

from dataclasses import dataclass
from functools import lru_cache

from torch import nn

from .config import NetworkConfig
from .ema import EMA, Grid
from .grids import output_grids
from .network import PoseNetwork
from .places import Place, View, place_of


@dataclass(frozen=True)
class PartCost:
    """Cost of a part of a network."""

    part: str
    params: int
    macs: int


@dataclass(frozen=True)
class NetworkCost:
    """Cost and place of every module with parameters."""

    layers: tuple[tuple[Place, int, int], ...]
    """(place, parameters, multiply-adds) of each module, in module order."""

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return sum(params for _, params, _ in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-adds for one crop."""
        return sum(macs for *_, macs in self.layers)

    def by(self, view: View) -> tuple[PartCost, ...]:
        """Costs summed by stage, branch or kind of block."""
        sums: dict[str, tuple[int, int]] = {}
        for place, params, macs in self.layers:
            before = sums.get(getattr(place, view), (0, 0))
            sums[getattr(place, view)] = (before[0] + params, before[1] + macs)
        return tuple(PartCost(part, *both) for part, both in sums.items())


@lru_cache(maxsize=32)
def network_cost(config: NetworkConfig, input_size: Grid) -> NetworkCost:
    """Cost of a network on crops of `input_size` (height, width) in px, multiples of 32."""
    network = PoseNetwork(config).eval()
    grids = output_grids(network, (nn.Conv2d, EMA), input_size)
    layers = []
    for name, module in network.named_modules():
        params = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        macs = 0
        if name in grids:
            macs = (attention_macs if isinstance(module, EMA) else conv_macs)(module, grids[name])
        if params or macs:
            layers.append((place_of(name, light=config.light_convs), params, macs))
    return NetworkCost(tuple(layers))


def conv_macs(conv: nn.Module, grid: Grid) -> int:
    """Multiply-adds of a conv whose output has `grid` cells."""
    assert isinstance(conv, nn.Conv2d)
    return conv.weight.numel() * grid[0] * grid[1]


def attention_macs(ema: nn.Module, grid: Grid) -> int:
    """Multiply-adds of a published EMA on `grid` cells: its two convs and its two matrix products."""
    assert isinstance(ema, EMA)
    width, (height, length) = ema.norm.num_channels, grid
    return width * ema.groups * (9 * width * height * length + width * (height + length) + 2 * height * length)

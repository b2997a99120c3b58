"""Parameters and multiply-adds of a network, by stage.

Convention, that of the paper and of HRNet's literature ("FLOPs" there): one multiply-add is one, at batch 1;
convolutions and matrix products count, norms, activations, sums and resizing do not. EMA counts as published,
so that the figure belongs to the network and not to the form that it happens to run in.
"""

from dataclasses import dataclass
from functools import lru_cache

from torch import nn

from .config import NetworkConfig
from .ema import EMA, Grid
from .grids import output_grids
from .network import PoseNetwork


@dataclass(frozen=True)
class StageCost:
    """What one stage, or the whole network, costs."""

    stage: str
    params: int
    macs: int


@dataclass(frozen=True)
class NetworkCost:
    """The stages in forward order; their sums are the network's."""

    stages: tuple[StageCost, ...]

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return sum(stage.params for stage in self.stages)

    @property
    def macs(self) -> int:
        """Multiply-adds for one crop."""
        return sum(stage.macs for stage in self.stages)


@lru_cache(maxsize=32)
def network_cost(config: NetworkConfig, input_size: Grid) -> NetworkCost:
    """Count a network on crops of `input_size` (height, width) in px, multiples of 32."""
    network = PoseNetwork(config).eval()
    macs = {name: 0 for name, _ in network.named_children()}
    for name, grid in output_grids(network, (nn.Conv2d, EMA), input_size).items():
        module = network.get_submodule(name)
        macs[name.partition(".")[0]] += (attention_macs if isinstance(module, EMA) else conv_macs)(module, grid)
    params = {name: sum(p.numel() for p in stage.parameters()) for name, stage in network.named_children()}
    return NetworkCost(tuple(StageCost(name, params[name], macs[name]) for name in macs))


def conv_macs(conv: nn.Module, grid: Grid) -> int:
    """Multiply-adds of a conv whose output has `grid` cells."""
    assert isinstance(conv, nn.Conv2d)
    return conv.weight.numel() * grid[0] * grid[1]


def attention_macs(ema: nn.Module, grid: Grid) -> int:
    """Multiply-adds of a published EMA on `grid` cells: its two convs and its two matrix products."""
    assert isinstance(ema, EMA)
    width, (height, length) = ema.norm.num_channels, grid
    return width * ema.groups * (9 * width * height * length + width * (height + length) + 2 * height * length)

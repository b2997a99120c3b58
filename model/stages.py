"""HRNet's stages: the exchange module, and the transition that opens a branch (section 2.1)."""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import Basicblock, Leanblock, LeEMAFusionblock, pointwise, spatial
from .config import NetworkConfig


def residual_unit(config: NetworkConfig, channels: int) -> nn.Module:
    """The residual unit selected by a config."""
    if config.attention:
        return LeEMAFusionblock(channels, groups=config.width)
    return Leanblock(channels) if config.light_units else Basicblock(channels)


def exchange_path(config: NetworkConfig, source: int, target: int) -> nn.Module:
    """Fusion path of a map from branch `source` to the grid and width of branch `target`."""
    channels = config.branch_channels(max(source, target) + 1)
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            pointwise(channels[source], channels[target]),
            nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"),
        )
    halvings: list[nn.Module] = []
    for step in range(source, target):
        last = step == target - 1
        halvings.append(
            spatial(channels[source], channels[target if last else source], stride=2, light=config.light_convs)
        )
        halvings += [] if last else [nn.ReLU()]
    return nn.Sequential(*halvings)


class ExchangeModule(nn.Module):
    """Residual units on every branch, then every branch receives the sum of all."""

    def __init__(self, config: NetworkConfig, branches: int, outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(residual_unit(config, channels) for _ in range(config.units)))
            for channels in config.branch_channels(branches)
        )
        self.paths = nn.ModuleList(
            nn.ModuleList(exchange_path(config, source, target) for source in range(branches))
            for target in range(outputs)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        return [self.fuse(paths, maps) for paths in self.paths]

    @staticmethod
    def fuse(paths: nn.Module, maps: Sequence[Tensor]) -> Tensor:
        """Input of one branch: the sum of all maps, each through its path."""
        assert isinstance(paths, nn.ModuleList)
        return F.relu(reduce(torch.add, (path(x) for path, x in zip(paths, maps, strict=True))))


class Stage(nn.Module):
    """A sequence of exchange modules; the last one of the network fuses into the finest branch only."""

    def __init__(self, config: NetworkConfig, branches: int, modules: int, *, last: bool = False) -> None:
        super().__init__()
        self.exchanges = nn.ModuleList(
            ExchangeModule(config, branches, outputs=1 if last and module == modules - 1 else branches)
            for module in range(modules)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return reduce(lambda maps, exchange: exchange(maps), self.exchanges, list(maps))


class Transition(nn.Module):
    """Adds a branch, made from the coarsest one; after stage 1 it also converts the first branch to its width."""

    def __init__(self, config: NetworkConfig, in_channels: int, branches: int) -> None:
        super().__init__()
        channels = config.branch_channels(branches)
        first = in_channels != channels[-2]
        self.finest = self._step(config, in_channels, channels[0], 1) if first else nn.Identity()
        self.opened = self._step(config, in_channels, channels[-1], 2)

    @staticmethod
    def _step(config: NetworkConfig, in_channels: int, out_channels: int, stride: int) -> nn.Module:
        return nn.Sequential(spatial(in_channels, out_channels, stride, light=config.light_convs), nn.ReLU())

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return [self.finest(maps[0]), *maps[1:], self.opened(maps[-1])]

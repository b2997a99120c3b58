"""Lite-HRNet (Yu et al., CVPR 2021): HRNet's branches with shuffles and channel weights in place of convolutions."""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .simple_baseline import conv_norm

STEM = 32
CHANNELS = (40, 80, 160, 320)
CROSS_RATIO, SPATIAL_RATIO = 8, 4  # reduction ratios of the gates' hidden layers
BLOCKS = 2  # conditional channel weightings per module


def shuffled(x: Tensor) -> Tensor:
    """Channel shuffle of two halves."""
    _, channels, height, width = x.shape
    return x.reshape(-1, 2, channels // 2, height, width).transpose(1, 2).reshape(-1, channels, height, width)


def separable(inputs: int, outputs: int, stride: int = 1, *, relu: bool = True) -> nn.Sequential:
    """Depthwise 3x3 and pointwise conv, each with its norm."""
    layers = [*conv_norm(inputs, inputs, 3, stride, groups=inputs), *conv_norm(inputs, outputs)]
    return nn.Sequential(*layers, *([nn.ReLU()] if relu else []))


class Stem(nn.Module):
    """Downsampling to 1/4: a 3x3 conv, then a shuffle block with stride 2."""

    def __init__(self) -> None:
        super().__init__()
        half = STEM // 2
        self.first = conv_norm(3, STEM, 3, 2)
        self.plain = separable(half, half, 2)
        self.expand = conv_norm(half, STEM)
        self.spatial = conv_norm(STEM, STEM, 3, 2, groups=STEM)
        self.linear = conv_norm(STEM, half)

    def forward(self, x: Tensor) -> Tensor:
        one, other = F.relu(self.first(x)).chunk(2, dim=1)
        other = F.relu(self.linear(self.spatial(F.relu(self.expand(other)))))
        return shuffled(torch.cat((self.plain(one), other), dim=1))


class ChannelGate(nn.Sequential):
    """Two 1x1 convs with a ReLU between and a sigmoid behind."""

    def __init__(self, channels: int, ratio: int, *, norm: bool) -> None:
        hidden = channels // ratio
        if norm:
            super().__init__(conv_norm(channels, hidden), nn.ReLU(), conv_norm(hidden, channels), nn.Sigmoid())
        else:
            super().__init__(nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1), nn.Sigmoid())


class ConditionalWeighting(nn.Module):
    """One half of the channels is weighed across all resolutions, then within its own; the other half passes."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.halves = [width // 2 for width in channels]
        self.across = ChannelGate(sum(self.halves), CROSS_RATIO, norm=True)
        self.spatial = nn.ModuleList(conv_norm(width, width, 3, groups=width) for width in self.halves)
        self.within = nn.ModuleList(ChannelGate(width, SPATIAL_RATIO, norm=False) for width in self.halves)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        pairs = [x.chunk(2, dim=1) for x in maps]
        weighed = self._across([other for _, other in pairs])
        weighed = [spatial(x) for spatial, x in zip(self.spatial, weighed, strict=True)]
        weighed = [x * gate(x.mean((2, 3), keepdim=True)) for gate, x in zip(self.within, weighed, strict=True)]
        return [shuffled(torch.cat((one, x), dim=1)) for (one, _), x in zip(pairs, weighed, strict=True)]

    def _across(self, maps: Sequence[Tensor]) -> list[Tensor]:
        coarsest = len(maps) - 1
        pooled = [F.avg_pool2d(x, 1 << (coarsest - index)) if index < coarsest else x for index, x in enumerate(maps)]
        gates = self.across(torch.cat(pooled, dim=1)).split(self.halves, dim=1)
        return [
            x * (F.interpolate(gate, scale_factor=float(1 << (coarsest - index))) if index < coarsest else gate)
            for index, (x, gate) in enumerate(zip(maps, gates, strict=True))
        ]


def exchange_path(channels: Sequence[int], source: int, target: int) -> nn.Module:
    """Fusion path from branch `source` to branch `target`."""
    if source == target:
        return nn.Identity()
    if source > target:
        up = nn.Upsample(scale_factor=float(1 << (source - target)), mode="nearest")
        return nn.Sequential(conv_norm(channels[source], channels[target]), up)
    steps = [
        separable(channels[source], channels[target if last else source], 2, relu=not last)
        for last in (index == target - source - 1 for index in range(target - source))
    ]
    return nn.Sequential(*steps)


class Module(nn.Module):
    """Conditional channel weightings, then every branch receives the sum of all."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ConditionalWeighting(channels) for _ in range(BLOCKS))
        places = range(len(channels))
        self.paths = nn.ModuleList(
            nn.ModuleList(exchange_path(channels, source, target) for source in places) for target in places
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        maps = reduce(lambda kept, block: block(kept), self.blocks, list(maps))
        return [F.relu(sum(path(x) for path, x in zip(paths, maps, strict=True))) for paths in self.paths]  # pyright: ignore


class Head(nn.Module):
    """From the coarsest branch to the finest: add the upsampled coarser branch and convolve."""

    def __init__(self) -> None:
        super().__init__()
        upwards = CHANNELS[::-1]
        self.steps = nn.ModuleList(
            separable(inputs, outputs) for inputs, outputs in zip(upwards, (*upwards[1:], upwards[-1]), strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        below: Tensor | None = None
        for step, x in zip(self.steps, reversed(maps), strict=True):
            if below is not None:
                x = x + F.interpolate(below, scale_factor=2.0, mode="bilinear", align_corners=True)  # noqa: PLW2901
            below = step(x)
        assert below is not None
        return below


class LiteHRNet(nn.Module):
    """Crops (N, 3, H, W) to heatmaps (N, K, H/4, W/4); `modules` of the stages of 2, 3 and 4 branches."""

    def __init__(self, modules: tuple[int, int, int], joints: int) -> None:
        super().__init__()
        self.stem = Stem()
        self.opened = nn.ModuleList([separable(STEM, CHANNELS[0])])
        self.opened.append(separable(STEM, CHANNELS[1], 2))
        self.opened.extend(separable(CHANNELS[index - 1], CHANNELS[index], 2) for index in (2, 3))
        self.stages = nn.ModuleList(
            nn.ModuleList(Module(CHANNELS[:branches]) for _ in range(count))
            for branches, count in zip((2, 3, 4), modules, strict=True)
        )
        self.gather = Head()
        self.head = nn.Conv2d(CHANNELS[0], joints, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        maps = [self.opened[0](x), self.opened[1](x)]
        for index, stage in enumerate(self.stages):
            if index:
                maps = [*maps, self.opened[index + 1](maps[-1])]
            assert isinstance(stage, nn.ModuleList)
            maps = reduce(lambda kept, module: module(kept), stage, maps)
        return self.head(self.gather(maps))

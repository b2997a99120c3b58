"""RTMPose (Jiang et al., 2023): CSPNeXt, a 7x7 conv, gated attention between joints, and a vector a joint and axis.

A joint's x and y are the largest bins of two vectors (SimCC), two bins a pixel, in place of a heatmap.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .simple_baseline import conv_norm

STAGES = ((128, 3), (256, 6), (512, 6), (1024, 3))  # channels and blocks of CSPNeXt-L
POOLS = (5, 9, 13)
STRIDE = 32
SIZE = (256, 192)  # height and width of the crops
BINS_PER_PIXEL = 2
TOKEN, KEY = 256, 128  # channels of a joint's token, and of its query and key
EXPANSION = 2


@dataclass(frozen=True)
class Scale:
    """How much of CSPNeXt-L's depth and width."""

    depth: float
    width: float


S, M = Scale(0.33, 0.5), Scale(0.67, 0.75)


def conv_act(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Conv, norm and SiLU."""
    return nn.Sequential(*conv_norm(inputs, outputs, kernel, stride, groups), nn.SiLU())


class Block(nn.Module):
    """A 3x3 conv and a separable 5x5 conv, beside a shortcut in all stages but the last."""

    def __init__(self, width: int, *, shortcut: bool) -> None:
        super().__init__()
        self.first = conv_act(width, width, 3)
        self.second = nn.Sequential(conv_act(width, width, 5, groups=width), conv_act(width, width))
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x))
        return x + y if self.shortcut else y


class ChannelAttention(nn.Module):
    """Every channel is weighed by a 1x1 conv of all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.conv(x.mean((2, 3), keepdim=True)))


class CrossStage(nn.Module):
    """Half of the channels go through the blocks, half go past them."""

    def __init__(self, channels: int, blocks: int, *, shortcut: bool) -> None:
        super().__init__()
        half = channels // 2
        self.main = nn.Sequential(conv_act(channels, half), *(Block(half, shortcut=shortcut) for _ in range(blocks)))
        self.past = conv_act(channels, half)
        self.join = nn.Sequential(ChannelAttention(channels), conv_act(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.join(torch.cat((self.main(x), self.past(x)), dim=1))


class PyramidPooling(nn.Module):
    """Maxima over growing windows, side by side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.reduce = conv_act(channels, half)
        self.pools = nn.ModuleList(nn.MaxPool2d(size, 1, size // 2) for size in POOLS)
        self.join = conv_act(half * (1 + len(POOLS)), channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        return self.join(torch.cat((x, *(pool(x) for pool in self.pools)), dim=1))


class CspNext(nn.Sequential):
    """Crops (N, 3, H, W) to maps (N, C, H/32, W/32)."""

    def __init__(self, scale: Scale) -> None:
        width = int(64 * scale.width)
        layers = [conv_act(3, width // 2, 3, 2), conv_act(width // 2, width // 2, 3), conv_act(width // 2, width, 3)]
        for channels, blocks in STAGES:
            wide, last = int(channels * scale.width), channels == STAGES[-1][0]
            pooling = [PyramidPooling(wide)] if last else []
            stage = CrossStage(wide, max(round(blocks * scale.depth), 1), shortcut=not last)
            layers.append(nn.Sequential(conv_act(width, wide, 3, 2), *pooling, stage))
            width = wide
        super().__init__(*layers)
        self.channels = width


class ScaleNorm(nn.Module):
    """Tokens divided by their root mean square, times one number."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x / (x.norm(dim=-1, keepdim=True) / math.sqrt(x.shape[-1])).clamp(min=1e-5) * self.scale


class GatedAttention(nn.Module):
    """Gated attention unit: joints look at each other by a squared ReLU of their products."""

    def __init__(self) -> None:
        super().__init__()
        wide = EXPANSION * TOKEN
        self.norm = ScaleNorm()
        self.split = (wide, wide, KEY)
        self.expand = nn.Linear(TOKEN, sum(self.split), bias=False)
        self.gamma, self.beta = nn.Parameter(torch.rand(2, KEY)), nn.Parameter(torch.rand(2, KEY))
        self.reduce = nn.Linear(wide, TOKEN, bias=False)
        self.shortcut = nn.Parameter(torch.ones(TOKEN))

    def forward(self, x: Tensor) -> Tensor:
        gate, value, base = F.silu(self.expand(self.norm(x))).split(self.split, dim=-1)
        query, key = (base.unsqueeze(2) * self.gamma + self.beta).unbind(dim=2)
        weights = F.relu(query @ key.transpose(1, 2) / math.sqrt(KEY)).square()
        return x * self.shortcut + self.reduce(gate * (weights @ value))


class RTMPose(nn.Module):
    """Crops (N, 3, 256, 192) to bins (N, K, 2 W + 2 H): each joint's x, then its y."""

    def __init__(self, scale: Scale, joints: int) -> None:
        super().__init__()
        self.backbone = CspNext(scale)
        self.head = nn.Conv2d(self.backbone.channels, joints, 7, padding=3)
        height, width = SIZE
        cells = (height // STRIDE) * (width // STRIDE)
        self.tokens = nn.Sequential(ScaleNorm(), nn.Linear(cells, TOKEN, bias=False))
        self.attention = GatedAttention()
        self.x, self.y = (nn.Linear(TOKEN, BINS_PER_PIXEL * side, bias=False) for side in (width, height))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.attention(self.tokens(self.head(self.backbone(x)).flatten(2)))
        return torch.cat((self.x(tokens), self.y(tokens)), dim=-1)

"""The paper's blocks: LConv, Leanblock and LeEMA-Fusionblock, beside HRNet's own two (sections 2.1 to 2.3)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .ema import EMA


class PartialConv(nn.Module):
    """3x3 conv on the first quarter of the channels; the other three pass untouched (section 2.2).

    With a stride the other three are averaged over 2x2, so that all four quarters keep one grid.
    """

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.sections = (channels // 4, channels - channels // 4)
        self.stride = stride
        self.conv = nn.Conv2d(self.sections[0], self.sections[0], 3, stride, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        quarter, rest = x.split(self.sections, dim=1)
        if self.stride > 1:
            rest = F.avg_pool2d(rest, self.stride)
        return torch.cat((self.conv(quarter), rest), dim=1)


class LConv(nn.Module):
    """Partial conv, then pointwise conv: a linear 3x3 operator of 25/16 C^2 parameters (section 2.2).

    Where it narrows at stride 1 the pointwise conv goes first, so that the 3x3 acts on the narrow side.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.narrows = stride == 1 and out_channels < in_channels
        self.partial = PartialConv(out_channels if self.narrows else in_channels, stride)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.partial(self.pointwise(x)) if self.narrows else self.pointwise(self.partial(x))


class ConvNorm(nn.Module):
    """A linear operator and the BatchNorm after it."""

    def __init__(self, conv: nn.Module, channels: int) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


def pointwise(in_channels: int, out_channels: int) -> ConvNorm:
    """1x1 conv and BatchNorm."""
    return ConvNorm(nn.Conv2d(in_channels, out_channels, 1, bias=False), out_channels)


def spatial(in_channels: int, out_channels: int, stride: int = 1, *, light: bool) -> ConvNorm:
    """3x3 conv and BatchNorm; `light` makes the conv an LConv."""
    if light:
        return ConvNorm(LConv(in_channels, out_channels, stride), out_channels)
    return ConvNorm(nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False), out_channels)


class Bottleneck(nn.Module):
    """HRNet's stage 1 unit: 1x1 to a quarter of the width, 3x3, 1x1 back, and the shortcut."""

    def __init__(self, in_channels: int, out_channels: int, *, light: bool) -> None:
        super().__init__()
        middle = out_channels // 4
        self.reduce = pointwise(in_channels, middle)
        self.spatial = spatial(middle, middle, light=light)
        self.expand = pointwise(middle, out_channels)
        self.shortcut = nn.Identity() if in_channels == out_channels else pointwise(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(F.relu(self.spatial(F.relu(self.reduce(x)))))
        return F.relu(y + self.shortcut(x))


class Residual(nn.Module):
    """Two 3x3 operators and the shortcut: HRNet's Basicblock, or with LConvs the Leanblock (Eqs. 2 and 3)."""

    def __init__(self, channels: int, *, light: bool) -> None:
        super().__init__()
        self.first = spatial(channels, channels, light=light)
        self.second = spatial(channels, channels, light=light)

    def operators(self, x: Tensor) -> Tensor:
        """Y1 = BN(conv(ReLU(BN(conv(X)))))."""
        return self.second(F.relu(self.first(x)))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.operators(x) + x)


class Basicblock(Residual):
    """HRNet's residual unit: 18 C^2 parameters."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, light=False)


class Leanblock(Residual):
    """Basicblock with an LConv in place of each 3x3 conv: 3.125 C^2 parameters (section 2.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, light=True)


class LeEMAFusionblock(Leanblock):
    """Leanblock whose output EMA weighs before the shortcut: Y = ReLU(EMA(Y1) + X) (Eq. 4)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(channels)
        self.attention = EMA(channels, groups)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.attention(self.operators(x)) + x)

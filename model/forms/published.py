"""EMA as published: the reference for `model.ema`, and the baseline of the export benchmark."""

import torch
from torch import Tensor, nn

from ..ema import EMA
from .rewrite import Network, rewrite


class PublishedEMA(nn.Module):
    """EMA with groups moved into the batch (Ouyang et al., ICASSP 2023), on the parameters of an `EMA`."""

    def __init__(self, ema: EMA) -> None:
        super().__init__()
        self.groups = ema.groups
        self.pointwise, self.conv, self.norm = ema.pointwise, ema.conv, ema.norm

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        groups = x.reshape(batch * self.groups, -1, height, width)
        rows, columns = groups.mean(3, keepdim=True), groups.mean(2, keepdim=True).transpose(2, 3)
        gates = self.pointwise(torch.cat((rows, columns), dim=2)).sigmoid()
        rows, columns = gates.split((height, width), dim=2)
        gated = self.norm(groups * rows * columns.transpose(2, 3))
        local = self.conv(groups)
        weights = _share(gated) @ local.flatten(2) + _share(local) @ gated.flatten(2)
        weights = weights.reshape(batch * self.groups, 1, height, width)
        return (groups * weights.sigmoid()).reshape(batch, channels, height, width)


def _share(x: Tensor) -> Tensor:
    """Map (N, c, H, W) to the channel weights (N, 1, c) of the cross-branch product."""
    return x.mean((2, 3)).softmax(1)[:, None]


def as_published(network: Network) -> Network:
    """A copy of the network with published EMAs."""
    return rewrite(network, lambda _, module: PublishedEMA(module) if isinstance(module, EMA) else module)

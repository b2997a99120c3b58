"""Adding EMA to a trained network: train the cheap variant first, then continue with the expensive one."""

from dataclasses import replace

import torch

from .blocks import LeEMAFusionblock
from .network import PoseNetwork


@torch.no_grad()
def with_ema(lean: PoseNetwork) -> PoseNetwork:
    """The variant of `lean` with EMA, initialized so that its heatmaps equal those of `lean`.

    An EMA with zero 3x3 conv and norm weighs every cell by sigmoid(0) = 1/2, for which the norm before it is doubled.
    Its 1x1 conv keeps its random weights, so gradients reach all of it. ValueError if the network has EMA already.
    """
    if lean.config.attention:
        raise ValueError("the network has EMA already")
    grown = PoseNetwork(replace(lean.config, attention=True))
    missing, surplus = grown.load_state_dict(lean.state_dict(), strict=False)
    assert not surplus
    assert all(".attention." in name for name in missing)
    for block in grown.modules():
        if isinstance(block, LeEMAFusionblock):
            for part in (block.attention.conv, block.attention.norm):
                for parameter in part.parameters():
                    parameter.zero_()
            block.second.norm.weight.mul_(2)
            block.second.norm.bias.mul_(2)
    return grown

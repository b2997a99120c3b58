"""Parameters and multiply-adds of a network, by stage.

Convention, that of the paper and of HRNet's literature ("FLOPs" there): one multiply-add is one, at batch 1;
convolutions and matrix products count, norms, activations, sums and resizing do not. EMA counts as published,
so that the figure belongs to the network and not to the form that it happens to run in.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .config import NetworkConfig
from .ema import EMA
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


def network_cost(config: NetworkConfig, input_size: tuple[int, int]) -> NetworkCost:
    """Count a network on crops of `input_size` (height, width) in px; computes nothing, so it takes no time."""
    with torch.device("meta"):
        network = PoseNetwork(config).eval()
    macs = dict.fromkeys((name for name, _ in network.named_children()), 0)

    def record(stage: str, module: nn.Module, x: Tensor, y: Tensor) -> None:
        macs[stage] += attention_macs(module, x) if isinstance(module, EMA) else conv_macs(module, y)

    for name, module in network.named_modules():
        if isinstance(module, EMA | nn.Conv2d):
            stage = name.partition(".")[0]
            module.register_forward_hook(lambda module, inputs, y, stage=stage: record(stage, module, inputs[0], y))
    network(torch.empty(1, 3, *input_size, device="meta"))
    params = {name: sum(p.numel() for p in stage.parameters()) for name, stage in network.named_children()}
    return NetworkCost(tuple(StageCost(name, params[name], macs[name]) for name in macs))


def conv_macs(conv: nn.Module, y: Tensor) -> int:
    """Multiply-adds of a conv whose output is `y`."""
    assert isinstance(conv, nn.Conv2d)
    return y.numel() * conv.weight[0].numel()


def attention_macs(ema: EMA, x: Tensor) -> int:
    """Multiply-adds of a published EMA on `x` (N, C, H, W): its two convs and its two matrix products."""
    _, channels, height, width = x.shape
    cells, per_group = height * width, channels // ema.groups
    return len(x) * channels * (9 * per_group * cells + per_group * (height + width) + 2 * cells)

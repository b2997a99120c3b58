"""Grid sizes of the modules of a network."""

from functools import partial

import torch
from torch import Tensor, nn

from .ema import Grid

PROBE = 64  # px: the smallest crop whose coarsest map has more than one cell


def output_grids(network: nn.Module, kinds: tuple[type[nn.Module], ...], input_size: Grid) -> dict[str, Grid]:
    """Output grid (height, width) of every module of the given kinds, by path, on crops of `input_size`.

    It is measured on one small crop and scaled, since the network is fully convolutional. Sizes are multiples of 32.
    """
    grids: dict[str, Grid] = {}

    def record(name: str, _module: nn.Module, _inputs: tuple[Tensor, ...], y: Tensor) -> None:
        grids[name] = (y.shape[2] * input_size[0] // PROBE, y.shape[3] * input_size[1] // PROBE)

    hooks = [
        module.register_forward_hook(partial(record, name))
        for name, module in network.named_modules()
        if isinstance(module, kinds)
    ]
    parameter = next(network.parameters())
    try:
        with torch.no_grad():
            network(parameter.new_zeros(1, 3, PROBE, PROBE))
    finally:
        for hook in hooks:
            hook.remove()
    return grids

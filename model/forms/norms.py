"""BatchNorm folded into the linear operator before it."""

import copy

import torch
from torch import Tensor, nn

from ..blocks import ConvNorm, LConv
from .rewrite import Network, rewrite


def fold_norms(network: Network) -> Network:
    """A copy without BatchNorm: its running statistics and affine move into the convs. For inference only."""
    return rewrite(network, lambda _, module: _folded(module) if isinstance(module, ConvNorm) else module)


def _folded(module: ConvNorm) -> nn.Module:
    scale, shift = _affine(module.norm)
    conv = copy.deepcopy(module.conv)
    match conv:
        case LConv(narrows=True):  # the partial conv is last: the quarter's bias must not precede its zero padding
            quarter = conv.partial.sections[0]
            ones, zeros = scale.new_ones(quarter), scale.new_zeros(quarter)
            _absorb(conv.pointwise, torch.cat((ones, scale[quarter:])), torch.cat((zeros, shift[quarter:])))
            _absorb(conv.partial.conv, scale[:quarter], shift[:quarter])
        case LConv():
            _absorb(conv.pointwise, scale, shift)
        case nn.Conv2d():
            _absorb(conv, scale, shift)
        case _:
            raise ValueError(f"cannot fold a BatchNorm into {type(conv).__name__}; expected Conv2d or LConv")
    return conv


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """BatchNorm as y = scale * x + shift."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias.detach() - norm.running_mean * scale


def _absorb(conv: nn.Conv2d, scale: Tensor, shift: Tensor) -> None:
    conv.weight = nn.Parameter(conv.weight.detach() * scale[:, None, None, None])
    conv.bias = nn.Parameter(shift if conv.bias is None else conv.bias.detach() * scale + shift)

"""Equal forms of LConv. The fastest depends on device, branch and batch, and is found by measurement."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks import LConv


class SummedLConv(nn.Module):
    """LConv without its concat: W [K q, r] = (W1 K) q + W2 r. A narrowing one writes its two parts separately."""

    def __init__(self, lconv: LConv) -> None:
        super().__init__()
        self.partial, self.narrows = lconv.partial, lconv.narrows
        split = split_outputs if lconv.narrows else split_inputs
        self.quarter, self.rest = split(lconv.pointwise, lconv.partial.sections)

    def forward(self, x: Tensor) -> Tensor:
        if self.narrows:
            return torch.cat((self.partial.conv(self.quarter(x)), self.rest(x)), dim=1)
        quarter, rest = x.split(self.partial.sections, dim=1)
        rest = F.avg_pool2d(rest, self.partial.stride) if self.partial.stride > 1 else rest
        return self.quarter(self.partial.conv(quarter)) + self.rest(rest)


class LeanPair(nn.Module):
    """LConv, ReLU, LConv: the first writes the quarter and the rest separately, so that no split is needed."""

    def __init__(self, first: LConv, second: LConv) -> None:
        super().__init__()
        self.first_partial = first.partial
        self.first_quarter, self.first_rest = split_outputs(first.pointwise, second.partial.sections)
        self.second_partial, self.second_pointwise = second.partial.conv, second.pointwise

    def forward(self, x: Tensor) -> Tensor:
        x = self.first_partial(x)
        quarter = self.second_partial(F.relu(self.first_quarter(x)))
        return self.second_pointwise(torch.cat((quarter, F.relu(self.first_rest(x))), dim=1))


def dense_lconv(lconv: LConv) -> nn.Conv2d:
    """LConv as one 3x3 conv: 5.8 times the arithmetic, a quarter of the launches."""
    kernel = _partial_kernel(lconv)
    mix = lconv.pointwise.weight.detach()[:, :, 0, 0]
    weight = torch.einsum("oikl,ij->ojkl", kernel, mix) if lconv.narrows else torch.einsum("oi,ijkl->ojkl", mix, kernel)
    bias = lconv.pointwise.bias
    if lconv.narrows and bias is not None:  # the folded partial conv brings the quarter's bias
        assert lconv.partial.conv.bias is not None
        bias = torch.cat((lconv.partial.conv.bias, bias[lconv.partial.sections[0] :]))
    return _conv(weight, bias, stride=lconv.partial.stride)


def split_outputs(conv: nn.Conv2d, sections: tuple[int, int]) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Split a conv into two that compute its first and its other output channels."""
    biases = (None, None) if conv.bias is None else conv.bias.split(sections)
    first, other = conv.weight.split(sections)
    return _conv(first, biases[0]), _conv(other, biases[1])


def split_inputs(conv: nn.Conv2d, sections: tuple[int, int]) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Split a conv by input channels into two whose outputs add up; the second has the bias."""
    first, other = conv.weight.split(sections, dim=1)
    return _conv(first, None), _conv(other, conv.bias)


def _partial_kernel(lconv: LConv) -> Tensor:
    """The partial conv as a dense kernel (C, C, 3, 3): untouched channels are a centre tap, if strided four of 1/4."""
    quarter, rest = lconv.partial.sections
    weight = lconv.partial.conv.weight.detach()
    kernel = weight.new_zeros(quarter + rest, quarter + rest, 3, 3)
    kernel[:quarter, :quarter] = weight
    passed = torch.arange(quarter, quarter + rest)
    if lconv.partial.stride == 1:
        kernel[passed, passed, 1, 1] = 1
    else:
        kernel[passed, passed, 1:, 1:] = 1 / 4
    return kernel


def _conv(weight: Tensor, bias: Tensor | None, stride: int = 1) -> nn.Conv2d:
    """A conv of this weight that keeps the grid, or divides it by the stride."""
    outputs, inputs, size, _ = weight.shape
    conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=bias is not None, dtype=weight.dtype)
    conv.weight = nn.Parameter(weight.detach().clone())
    conv.bias = None if bias is None else nn.Parameter(bias.detach().clone())
    return conv

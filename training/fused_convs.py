"""LConv as one operator without split and concat, and the 1x1 conv as a product of rows, on a CPU.

Their definitions are `model.blocks.LConv` and `F.conv2d`. A channels-last map is a matrix with a row for each cell, so
a 1x1 conv is a matrix product, and a quarter of the channels is some of its columns.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..model.blocks import LConv
from .fused_ops import TYPES, library, pointer, serves


class Grid(ctypes.Structure):
    """`Grid` of `native/columns.cpp`."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("images", "height", "width", "channels", "first")),
        ("threads", ctypes.c_int32),
    )


def serves_lconv(block: LConv, x: Tensor) -> bool:
    """Whether `fused_lconv` takes this block and these maps."""
    even = block.partial.stride == 1 or (block.partial.stride == 2 and x.shape[2] % 2 == 0 == x.shape[3] % 2)
    return even and block.partial.sections[0] > 0 and _serves(x, block.pointwise.weight)


def fused_lconv(block: LConv, x: Tensor) -> Tensor:
    """LConv of maps (N, C, H, W); channels-last maps come out."""
    dtype = _computed(x)
    weights = (block.partial.conv.weight, block.pointwise.weight)
    if block.narrows:
        return _Narrowing.apply(x.to(dtype), *weights)
    return _LConv.apply(x.to(dtype), *weights, block.partial.stride)


def serves_pointwise(conv: nn.Conv2d, x: Tensor) -> bool:
    """Whether `fused_pointwise` takes this conv and these maps."""
    if conv.kernel_size != (1, 1) or conv.bias is not None:
        return False
    return conv.stride == (1, 1) and conv.padding == (0, 0) and conv.groups == 1 and _serves(x, conv.weight)


def fused_pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """1x1 conv without a bias of maps (N, C, H, W); channels-last maps come out."""
    return _Pointwise.apply(x.to(_computed(x)), conv.weight)


class _Pointwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        matrix = weight.to(x.dtype).flatten(1)
        ctx.save_for_backward(x, matrix)
        return _maps(_rows(x) @ matrix.T, x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, matrix = ctx.saved_tensors
        rows = _rows(grad)
        return _maps(rows @ matrix, x), _by_matrix(rows, x)


class _LConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, weight: Tensor, stride: int) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        kernel, matrix = kernel.to(x.dtype), weight.to(x.dtype).flatten(1)
        quarter = _first(x, kernel.shape[1])
        mixed = F.conv2d(quarter, kernel, stride=stride, padding=1)
        y = _joined(mixed, x) if stride == 1 else _pooled(mixed, x)
        ctx.stride = stride
        ctx.save_for_backward(quarter, y, kernel, matrix)
        return _maps(_rows(y) @ matrix.T, y)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        quarter, y, kernel, matrix = ctx.saved_tensors
        rows = _rows(grad)
        by_y = _maps(rows @ matrix, y)
        by_quarter, by_kernel = _conv_backward(_first(by_y, kernel.shape[0]), quarter, kernel, ctx.stride)
        by_x = _put_first(by_quarter, by_y) if ctx.stride == 1 else _spread(by_quarter, by_y)
        return by_x, by_kernel, _by_matrix(rows, y), None


class _Narrowing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, weight: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        kernel, matrix = kernel.to(x.dtype), weight.to(x.dtype).flatten(1)
        y = _maps(_rows(x) @ matrix.T, x)
        quarter = _first(y, kernel.shape[1])
        ctx.save_for_backward(x, quarter, kernel, matrix)
        return _put_first(F.conv2d(quarter, kernel, padding=1), y)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, quarter, kernel, matrix = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        by_quarter, by_kernel = _conv_backward(_first(grad, kernel.shape[0]), quarter, kernel, 1)
        rows = _rows(_joined(by_quarter, grad))
        return _maps(rows @ matrix, x), by_kernel, _by_matrix(rows, x)


def _computed(x: Tensor) -> torch.dtype:
    """The type of a conv's maps: autocast's where it is on, but float64 stays."""
    mixed = torch.is_autocast_enabled("cpu") and x.dtype != torch.float64
    return torch.get_autocast_dtype("cpu") if mixed else x.dtype


def _serves(x: Tensor, weight: Tensor) -> bool:
    return serves(x, weight) and _computed(x) in TYPES


def _rows(maps: Tensor) -> Tensor:
    """Maps (N, C, H, W) as rows (N * H * W, C)."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def _maps(rows: Tensor, like: Tensor) -> Tensor:
    """Rows (N * H * W, C) as channels-last maps on the grid of `like`."""
    images, _, height, width = like.shape
    return rows.view(images, height, width, -1).permute(0, 3, 1, 2)


def _by_matrix(by_out: Tensor, maps: Tensor) -> Tensor:
    """The gradient by a 1x1 conv's weights (O, C, 1, 1), from that by its output's rows (N * H * W, O)."""
    return (by_out.T @ _rows(maps))[:, :, None, None]


def _conv_backward(grad: Tensor, x: Tensor, kernel: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    by_x, by_kernel, _ = torch.ops.aten.convolution_backward(
        grad, x, kernel, None, [stride] * 2, [1, 1], [1, 1], False, [0, 0], 1, [True, True, False]
    )
    return by_x.contiguous(memory_format=torch.channels_last), by_kernel


def _cells(maps: Tensor) -> int:
    return maps.numel() // maps.shape[1]


def _row_bytes(maps: Tensor) -> int:
    return maps.shape[1] * maps.element_size()


def _empty(maps: Tensor, channels: int, scale: int = 1) -> Tensor:
    """Channels-last maps of other channels, on a grid that is `scale` times as high and wide."""
    shape = (maps.shape[0], channels, maps.shape[2] * scale, maps.shape[3] * scale)
    return torch.empty(shape, dtype=maps.dtype, memory_format=torch.channels_last)


def _copy(cells: int, size: int, source: Tensor, target: Tensor) -> None:
    """The first `size` bytes of each cell's channels, from channels-last maps to others."""
    library().lehrnet_copy_columns(
        *(ctypes.c_int64(value) for value in (cells, size)),
        *(pointer(source), ctypes.c_int64(_row_bytes(source)), pointer(target), ctypes.c_int64(_row_bytes(target))),
        torch.get_num_threads(),
    )


def _first(maps: Tensor, channels: int) -> Tensor:
    """The first channels of channels-last maps, by themselves."""
    first = _empty(maps, channels)
    _copy(_cells(maps), _row_bytes(first), maps, first)
    return first


def _put_first(first: Tensor, maps: Tensor) -> Tensor:
    """Channels-last maps, of which the first channels are overwritten."""
    _copy(_cells(maps), _row_bytes(first), first.contiguous(memory_format=torch.channels_last), maps)
    return maps


def _joined(first: Tensor, maps: Tensor) -> Tensor:
    """Channels-last maps with other first channels."""
    first, out = first.contiguous(memory_format=torch.channels_last), torch.empty_like(maps)
    library().lehrnet_join_columns(
        *(ctypes.c_int64(value) for value in (_cells(maps), _row_bytes(first))),
        *(pointer(first), pointer(maps), ctypes.c_int64(_row_bytes(maps)), pointer(out)),
        torch.get_num_threads(),
    )
    return out


def _grid(maps: Tensor, first: Tensor) -> Grid:
    images, channels, height, width = maps.shape
    return Grid(images, height, width, channels, first.shape[1], torch.get_num_threads())


def _pooled(first: Tensor, x: Tensor) -> Tensor:
    """`first` (N, q, H, W), then the means over 2x2 of the other channels of x (N, C, 2H, 2W)."""
    out = _put_first(first, _empty(first, x.shape[1]))
    library().lehrnet_pool_columns(ctypes.byref(_grid(out, first)), TYPES[x.dtype], pointer(x), pointer(out))
    return out


def _spread(first: Tensor, by_y: Tensor) -> Tensor:
    """The gradient by x (N, C, 2H, 2W): `first`, then that through the means of the other channels (N, C, H, W)."""
    by_x = _put_first(first, _empty(by_y, by_y.shape[1], scale=2))
    library().lehrnet_spread_columns(ctypes.byref(_grid(by_y, first)), TYPES[by_y.dtype], pointer(by_y), pointer(by_x))
    return by_x

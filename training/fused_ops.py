"""EMA, and BatchNorm with the sum and the ReLU after it, each as one operator with its own backward, on a CPU.

Their definitions are `model.ema.EMA` and `F.batch_norm`; the tests tie each to its definition. Maps are float32,
float64 or bfloat16 (computed in float32); weights are of the type that is computed in. What backward needs beside its
inputs is computed again.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..model.ema import EMA
from .fused_library import fused_library

TYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2}
"""The numbers of `native/lanes.h`."""
Pointers = ctypes.Array[ctypes.c_void_p]


class EMAJob(ctypes.Structure):
    """`Job` of `native/ema.cpp`."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("images", "groups", "width", "height", "columns")),
        ("eps", ctypes.c_double),
        ("channels_last", ctypes.c_int32),
        ("threads", ctypes.c_int32),
    )


class NormJob(ctypes.Structure):
    """`Job` of `native/norm.cpp`."""

    _fields_ = (
        ("rows", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("eps", ctypes.c_double),
        ("relu", ctypes.c_int32),
        ("threads", ctypes.c_int32),
    )


def serves(maps: Tensor, weight: Tensor) -> bool:
    """Whether the operators take these maps and the type of their weights."""
    computed = torch.float64 if maps.dtype == torch.float64 else torch.float32
    return (
        maps.device.type == "cpu" and maps.dtype in TYPES and weight.dtype == computed and maps.numel() > 0
    ) and fused_library() is not None


def fused_ema(module: EMA, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
    """EMA of maps (N, C, H, W); with a shortcut of the same shape, ReLU(EMA(x) + shortcut)."""
    convs = (module.pointwise, module.conv, module.norm)
    weights = [each for conv in convs for each in (conv.weight, conv.bias)]
    return _EMA.apply(x, shortcut, module.groups, module.norm.eps, *weights)


def fused_norm(norm: nn.BatchNorm2d, x: Tensor, *, relu: bool, shortcut: Tensor | None = None) -> Tensor:
    """BatchNorm in training of channels-last maps (N, C, H, W), plus a shortcut of the same shape, then ReLU.

    The running statistics of `norm` are brought up to date.
    """
    out, mean, variance = _Norm.apply(x, shortcut, norm.weight, norm.bias, norm.eps, relu)
    _track(norm, mean, variance, x.numel() // x.shape[1])
    return out


@torch.no_grad()
def _track(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, rows: int) -> None:
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    share = norm.momentum if norm.momentum is not None else 1 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean, share)
    norm.running_var.lerp_(variance * (rows / max(1, rows - 1)), share)  # the unbiased one


class _EMA(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shortcut: Tensor | None, groups: int, eps: float, *weights: Tensor) -> Tensor:
        layout = _layout(x)
        x = x.contiguous(memory_format=layout)
        shortcut = None if shortcut is None else shortcut.to(x.dtype).contiguous(memory_format=layout)
        weights = tuple(weight.contiguous() for weight in weights)
        out = torch.empty_like(x, memory_format=layout)
        images, channels, height, columns = x.shape
        shape = (images, groups, channels // groups, height, columns)
        last = layout == torch.channels_last
        ctx.job = EMAJob(*shape, eps, channels_last=last, threads=torch.get_num_threads())
        library().lehrnet_ema_forward(
            ctypes.byref(ctx.job), TYPES[x.dtype], _pointers(weights), pointer(x), pointer(shortcut), pointer(out)
        )
        ctx.save_for_backward(x, None if shortcut is None else out, *weights)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, out, *weights = ctx.saved_tensors
        layout = torch.channels_last if ctx.job.channels_last else torch.contiguous_format
        grad = grad.to(x.dtype).contiguous(memory_format=layout)
        by_x = torch.empty_like(x)
        by_shortcut = None if out is None else torch.empty_like(x)
        by_weights = [torch.empty_like(weight) for weight in weights]
        library().lehrnet_ema_backward(
            ctypes.byref(ctx.job),
            TYPES[x.dtype],
            _pointers(weights),
            *(pointer(tensor) for tensor in (x, out, grad, by_x, by_shortcut)),
            _pointers(by_weights),
        )
        return by_x, by_shortcut, None, None, *by_weights


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes them by place
        ctx: Any, x: Tensor, shortcut: Tensor | None, scale: Tensor, shift: Tensor, eps: float, relu: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = x.contiguous(memory_format=torch.channels_last)
        if shortcut is not None:
            shortcut = shortcut.to(x.dtype).contiguous(memory_format=torch.channels_last)
        out = torch.empty_like(x)
        mean, variance = torch.empty_like(scale), torch.empty_like(scale)
        ctx.job = NormJob(x.numel() // x.shape[1], x.shape[1], eps, relu=relu, threads=torch.get_num_threads())
        library().lehrnet_norm_forward(
            ctypes.byref(ctx.job),
            TYPES[x.dtype],
            _pointers((scale, shift)),
            _pointers((mean, variance)),
            *(pointer(tensor) for tensor in (x, shortcut, out)),
        )
        ctx.summed = shortcut is not None
        ctx.save_for_backward(x, out if ctx.summed and relu else None, scale, shift, mean, variance)
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, out, scale, shift, mean, variance = ctx.saved_tensors
        grad = grad.to(x.dtype).contiguous(memory_format=torch.channels_last)
        by_x = torch.empty_like(x)
        by_shortcut = torch.empty_like(x) if ctx.summed else None
        by_scale, by_shift = torch.empty_like(scale), torch.empty_like(shift)
        library().lehrnet_norm_backward(
            ctypes.byref(ctx.job),
            TYPES[x.dtype],
            _pointers((scale, shift, mean, variance)),
            *(pointer(tensor) for tensor in (x, out, grad, by_x, by_shortcut)),
            _pointers((by_scale, by_shift)),
        )
        return by_x, by_shortcut, by_scale, by_shift, None, None


def library() -> ctypes.CDLL:
    """The library where `serves` has said that there is one."""
    found = fused_library()
    assert found is not None
    return found


def _layout(x: Tensor) -> torch.memory_format:
    return torch.contiguous_format if x.is_contiguous() else torch.channels_last


def pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    """Where a tensor's values lie; null for None."""
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _pointers(tensors: Sequence[Tensor]) -> Pointers:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))

"""EMA as the PyTorch operator `lehrnet::ema`: our CUDA kernel on a GPU, the Python definition elsewhere."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ...model.ema import EMAConstants, attend, windows
from ...model.forms.attention import GROUP_WEIGHTS


@torch.library.custom_op("lehrnet::ema", mutates_args=(), device_types="cpu")
def ema(maps: Tensor, shortcut: Tensor | None, weights: list[Tensor], groups: int, eps: float) -> Tensor:
    """EMA of maps (N, C, H, W) of float32 or float16; with a shortcut of the same shape, ReLU(EMA(maps) + shortcut).

    `weights`: `group_weights` of a FrozenEMA, in float32. Paper, section 2.3 and Eq. 4.
    """
    named = dict(zip(GROUP_WEIGHTS, weights, strict=True))
    height, width = maps.shape[2:]
    named["local_bias"] = named["local_bias"].expand(len(named["scale"])) / len(named["scale"])
    constants = EMAConstants(
        **{name: weight.repeat(groups, *[1] * (weight.ndim - 1)) for name, weight in named.items()},
        window_rows=windows(height, like=named["gate"]).T,
        window_columns=windows(width, like=named["gate"]),
    )
    weighed = attend(maps.float(), constants, groups, (height, width), eps)
    return (weighed if shortcut is None else F.relu(weighed + shortcut.float())).to(maps.dtype)


@ema.register_fake
def _(maps: Tensor, shortcut: Tensor | None, weights: list[Tensor], groups: int, eps: float) -> Tensor:
    del shortcut, weights, groups, eps
    return torch.empty_like(maps)


@ema.register_kernel("cuda")
def _(maps: Tensor, shortcut: Tensor | None, weights: list[Tensor], groups: int, eps: float) -> Tensor:
    stream = torch.cuda.current_stream(maps.device).cuda_stream
    return launch_ema(loaded_kernels(maps.device.index), stream, maps, shortcut, weights, groups=groups, eps=eps)


def launch_ema(
    kernels: Any, stream: int, maps: Tensor, shortcut: Tensor | None, weights: list[Tensor], *, groups: int, eps: float
) -> Tensor:
    """Launch the kernel in the maps' own layout; layouts other than NCHW and channels-last are copied first."""
    if maps.dtype not in (torch.float32, torch.float16):
        raise ValueError(f"the EMA kernel supports float32 and float16, not {maps.dtype}")
    last = not maps.is_contiguous() and maps.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    maps = maps.contiguous(memory_format=layout)
    shortcut = None if shortcut is None else shortcut.to(maps.dtype).contiguous(memory_format=layout)
    out = torch.empty_like(maps)
    kernels.ema(
        stream,
        tuple(maps.shape),
        groups,
        eps,
        pointers=(maps.data_ptr(), 0 if shortcut is None else shortcut.data_ptr(), *(w.data_ptr() for w in weights)),
        out=out.data_ptr(),
        half=maps.dtype == torch.float16,
        channels_last=last,
    )
    return out


@lru_cache
def loaded_kernels(gpu: int) -> Any:
    """The kernels loaded on a GPU, cached; FileNotFoundError if they are not compiled."""
    from ..cuda.driver import describe_gpu  # noqa: PLC0415 - the operator serves machines without CUDA too
    from ..cuda.launch import Kernels, kernel_image  # noqa: PLC0415

    return Kernels(kernel_image(describe_gpu(gpu)))

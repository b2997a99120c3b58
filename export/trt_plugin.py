"""EMA as a plugin of TensorRT 10 and 11, from the PTX of our CUDA kernel; experimental.

It is an ahead-of-time plugin (`tensorrt.plugin`): TensorRT embeds the PTX in the engine, which then runs without
lehrnet, from C++ too, and no TensorRT headers are needed. TensorRT-RTX has no such plugins. Not yet built into an
engine, since the library does not install without a GPU; the tests register and evaluate it in TensorRT's Python layer.
"""

# pyright: reportInvalidTypeForm=false
# TensorRT evaluates the annotations below; their module is passed in as `trtp`, so pyright cannot resolve them.

import ctypes
from pathlib import Path
from typing import Any

from ..runtime.cuda.launch import EMA_THREADS, PTX, read_or_compile
from ..runtime.cuda.nvrtc import KERNELS, OLDEST

PLUGIN = "lehrnet::EMA"


def kernel_ptx(folder: Path = KERNELS) -> bytes:
    """The kernels' PTX, compiled now by NVRTC if the file is missing; FileNotFoundError without either."""
    return read_or_compile(folder / PTX, OLDEST).removesuffix(b"\0")


def register_ema(trt: Any, trtp: Any, ptx: bytes) -> None:
    """Register the operator once, so that TensorRT's parser accepts its nodes; `trtp` is the module `tensorrt.plugin`.

    Its inputs are those of `lehrnet::ema`: maps, shortcut, and the weights of one group in FP32.
    """
    if PLUGIN in trtp._lib.QDP_REGISTRY:
        return

    @trtp.register(PLUGIN)
    def describe(
        maps: trtp.TensorDesc, shortcut: trtp.TensorDesc, gate: trtp.TensorDesc, gate_bias: trtp.TensorDesc,
        local: trtp.TensorDesc, local_bias: trtp.TensorDesc, scale: trtp.TensorDesc, shift: trtp.TensorDesc,
        mean: trtp.TensorDesc, mean_bias: trtp.TensorDesc, groups: int, epsilon: float,
    ) -> trtp.TensorDesc:  # fmt: skip
        return maps.like()

    @trtp.aot_impl(PLUGIN)
    def implement(
        maps: trtp.TensorDesc, shortcut: trtp.TensorDesc, gate: trtp.TensorDesc, gate_bias: trtp.TensorDesc,
        local: trtp.TensorDesc, local_bias: trtp.TensorDesc, scale: trtp.TensorDesc, shift: trtp.TensorDesc,
        mean: trtp.TensorDesc, mean_bias: trtp.TensorDesc, groups: int, epsilon: float,
        outputs: tuple[trtp.TensorDesc], tactic: int,
    ) -> tuple[str, bytes, trtp.KernelLaunchParams, trtp.SymIntExprs]:  # fmt: skip
        people, _, height, width = maps.shape_expr
        channels = gate.shape_expr[0]
        launch = trtp.KernelLaunchParams()
        launch.grid_x, launch.grid_y, launch.block_x = groups, people, EMA_THREADS
        launch.shared_mem = channels * (height * width + (height + width) * 2) * 4  # runtime.cuda.launch.ema_bytes
        numbers = trtp.SymIntExprs(5)
        channels_last, bits = 0, ctypes.c_int32.from_buffer_copy(ctypes.c_float(epsilon)).value
        for index, number in enumerate((channels, height, width, channels_last, bits)):
            numbers[index] = trtp.SymInt32(number)
        kernel = "lehrnet_ema_fp16" if maps.dtype == trt.DataType.HALF else "lehrnet_ema_fp32"
        return kernel, ptx, launch, numbers

"""EMA as a plugin of TensorRT 10 and 11, from the PTX of our CUDA kernel; experimental.

TensorRT takes the PTX into the engine (`tensorrt.plugin`, ahead of time), so that an engine runs without us, from C++
too, and no header of TensorRT's is needed. TensorRT-RTX has no such plugins. Not yet built into an engine: the library
does not install where there is no GPU; registered and evaluated by its own Python layer in the tests.
"""

# pyright: reportInvalidTypeForm=false
# TensorRT reads the types of the signatures, and they are a module's that is not there when this one is imported.

import ctypes
from pathlib import Path
from typing import Any

from ..runtime.cuda.launch import EMA_THREADS, PTX, read_or_compile
from ..runtime.cuda.nvrtc import KERNELS, OLDEST

PLUGIN = "lehrnet::EMA"


def kernel_ptx(folder: Path = KERNELS) -> bytes:
    """The kernels' PTX, or what NVRTC makes now; FileNotFoundError where there is neither."""
    return read_or_compile(folder / PTX, OLDEST).removesuffix(b"\0")


def register_ema(trt: Any, trtp: Any, ptx: bytes) -> None:
    """Register the operator with `tensorrt` and its `plugin` module, once; the parser then takes its nodes.

    Its tensors are `lehrnet::ema`'s: maps, shortcut, and the weights of one group in FP32.
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

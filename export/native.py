"""The packed artefact of our own CPU engine, `native_fp32`: docs/native-format.md, read by runtime/embed/src/native.

It holds the network's config and its tensors in the order of its modules, every BatchNorm folded in float64. Nothing
in it depends on a processor or on the input's size: the engine arranges the weights when it opens the file.
"""

import copy
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..files import atomic_file
from ..model import NetworkConfig, PoseNetwork
from ..model.ema import EMA
from ..model.forms import fold_norms

NATIVE = "native_fp32"
MAGIC, VERSION, BYTE_ORDER = b"LEHRNETN", 1, 0x01020304
HEADER = struct.Struct("<8s2IQ10I")  # magic, version, byte order, bytes of the file, config and count of tensors
ENTRY = struct.Struct("<4IQ")  # a tensor's sizes, and where its numbers begin
ALIGNMENT = 64  # bytes


def write_native(network: PoseNetwork, path: Path) -> None:
    """Write the artefact of a network; the file under `path` is replaced whole or not at all."""
    content = native_bytes(network)
    with atomic_file(path, len(content)) as unfinished:
        unfinished.write_bytes(content)


def native_bytes(network: PoseNetwork) -> bytes:
    """The artefact of a network."""
    tensors = list(native_tensors(network))
    begin = _aligned(HEADER.size + len(tensors) * ENTRY.size)
    offsets = np.cumsum([begin, *(_aligned(tensor.nbytes) for tensor in tensors)]).tolist()
    total = offsets.pop()
    content = bytearray(total)
    HEADER.pack_into(
        content, 0, MAGIC, VERSION, BYTE_ORDER, total, *_config_numbers(network.config), len(tensors)
    )  # fmt: skip
    for place, (tensor, offset) in enumerate(zip(tensors, offsets, strict=True)):
        sizes = (*tensor.shape, *[1] * (4 - tensor.ndim))
        ENTRY.pack_into(content, HEADER.size + place * ENTRY.size, *sizes, offset)
        content[offset : offset + tensor.nbytes] = tensor.tobytes()
    return bytes(content)


def native_tensors(network: PoseNetwork) -> Iterator[NDArray[np.float32]]:
    """The tensors in the order of the network's modules; of a conv its weight, then its bias where it has one."""
    exact = fold_norms(copy.deepcopy(network).double().eval())
    inside: set[nn.Module] = set()
    for module in exact.modules():
        if module in inside:
            continue
        if isinstance(module, EMA):
            inside.update(module.modules())
            yield from map(_little, _attention(module))
        elif isinstance(module, nn.Conv2d):
            yield from (_little(tensor) for tensor in (module.weight, module.bias) if tensor is not None)


def _attention(ema: EMA) -> Iterator[Tensor]:
    """What one group takes: the 1x1 conv, the constant 3x3 conv, the norm, and the 3x3 conv whose mean is weighed."""
    constants = ema.constants((1, 1))  # its means are over one cell, so that they suit every grid
    width = constants.gate.shape[1]
    yield constants.gate[:width]
    yield constants.gate_bias[:width]
    yield constants.local[:width]
    yield constants.local_bias[:width].sum(0, keepdim=True)
    yield constants.scale[:width]
    yield constants.shift[:width]
    yield constants.mean[:width]
    yield constants.mean_bias[:width]
    yield torch.tensor([ema.norm.eps])


def _config_numbers(config: NetworkConfig) -> tuple[int, ...]:
    return (
        *(config.joints, config.width, config.units, *config.modules),
        *(config.light_units, config.light_convs, config.attention),
    )


def _little(tensor: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().numpy(), "<f4")


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT

"""The packed artefacts of our own CPU engine: docs/native-format.md, read by runtime/embed/src/native.

They hold the network's config and its tensors in the order of its modules, every BatchNorm folded in float64. Nothing
in them depends on a processor or on the input's size: the engine arranges the weights when it opens the file.
"""

import copy
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..calibration.quantize import quantize_weight
from ..calibration.steps import Steps
from ..files import write_bytes
from ..model import NetworkConfig, PoseNetwork
from ..model.blocks import LConv
from ..model.ema import EMA
from ..model.forms import fold_norms
from ..pose.spec import PoseSpec
from ..runtime.bundle import NATIVE as SUFFIX
from ..runtime.bundle import Artefact, Bundle, write_manifest

NATIVE, NATIVE_INT8 = "native_fp32", "native_int8"
MAGIC, BYTE_ORDER = b"LEHRNETN", 0x01020304
FLOATS_ONLY, WITH_TYPES = 1, 2  # versions
HEADER = struct.Struct("<8s2IQ10I")  # magic, version, byte order, bytes of the file, config and count of tensors
ENTRIES = {FLOATS_ONLY: struct.Struct("<4IQ"), WITH_TYPES: struct.Struct("<4IQ2I")}
"""A tensor's sizes, where its numbers begin, its type and 0."""
TYPES = {"float32": 0, "int8": 1}
ALIGNMENT = 64  # bytes


def write_native(network: PoseNetwork, path: Path, steps: Mapping[str, Steps] | None = None) -> None:
    """Write the artefact of a network; the file under `path` is replaced whole or not at all."""
    write_bytes(path, native_bytes(network, steps))


def lone_bundle(folder: Path, content: bytes, name: str, variant: str, spec: PoseSpec) -> Bundle:
    """Write a bundle that holds nothing but an artefact's content: the library runs bundles only."""
    path = folder / f"{name}{SUFFIX}"
    path.write_bytes(content)
    bundle = Bundle(folder, variant, spec, False, "", {name: Artefact.of(path)})
    write_manifest(bundle)
    return bundle


def native_bytes(network: PoseNetwork, steps: Mapping[str, Steps] | None = None) -> bytes:
    """The artefact of a network, in INT8 for the operators that `steps` names by their path; None: `native_fp32`."""
    tensors = list(native_tensors(network, steps or {}))
    version = FLOATS_ONLY if steps is None else WITH_TYPES
    entry = ENTRIES[version]
    begin = _aligned(HEADER.size + len(tensors) * entry.size)
    offsets = np.cumsum([begin, *(_aligned(tensor.nbytes) for tensor in tensors)]).tolist()
    total = offsets.pop()
    content = bytearray(total)
    HEADER.pack_into(
        content, 0, MAGIC, version, BYTE_ORDER, total, *config_numbers(network.config), len(tensors)
    )  # fmt: skip
    for place, (tensor, offset) in enumerate(zip(tensors, offsets, strict=True)):
        sizes = (*tensor.shape, *[1] * (4 - tensor.ndim))
        type_of = (TYPES[tensor.dtype.name], 0) if version == WITH_TYPES else ()
        entry.pack_into(content, HEADER.size + place * entry.size, *sizes, offset, *type_of)
        content[offset : offset + tensor.nbytes] = tensor.tobytes()
    return bytes(content)


def native_tensors(network: PoseNetwork, steps: Mapping[str, Steps] | None = None) -> Iterator[NDArray[Any]]:
    """The tensors in the order of the network's modules: float32, and int8 for the operators that `steps` names."""
    exact, left = fold_norms(copy.deepcopy(network).double().eval()), dict(steps or {})
    inside: set[nn.Module] = set()
    for path, module in exact.named_modules():
        if module in inside:
            continue
        if isinstance(module, EMA):
            inside.update(module.modules())
            yield from map(_little, _attention(module))
        elif path in left:
            inside.update(module.modules())
            yield from integer_operator(module, left.pop(path))
        elif isinstance(module, nn.Conv2d):
            yield from _floating_conv(module)
    if left:
        raise ValueError(f"the network has no operator {min(left)!r}; its steps are of another network")


def _floating_conv(conv: nn.Conv2d) -> Iterator[NDArray[np.float32]]:
    yield from (_little(tensor) for tensor in (conv.weight, conv.bias) if tensor is not None)


def integer_operator(module: nn.Module, steps: Steps) -> Iterator[NDArray[Any]]:
    """An operator in INT8; of an LConv that narrows only the pointwise conv, whose result may be below 0."""
    match module:
        case LConv(narrows=True):
            yield from _floating_conv(module.partial.conv)
            yield from _integer_conv(module.pointwise, steps.read)
        case LConv():
            assert steps.partial is not None
            quarter = module.partial.sections[0]
            yield from _integers(module.partial.conv.weight, steps.read)
            # What both parts of its input are worth goes into the weights, so that one sum takes them.
            shares = torch.ones(module.pointwise.in_channels, dtype=torch.float64)
            shares[:quarter] = steps.partial / steps.read
            yield from _integer_conv(module.pointwise, steps.read, shares)
            yield np.array([steps.read, steps.partial], "<f4")
            return
        case nn.Conv2d():
            yield from _integer_conv(module, steps.read)
        case _:
            raise ValueError(f"a {type(module).__name__} cannot be in INT8; expected an LConv or a conv")
    yield np.array([steps.read], "<f4")


def _integer_conv(conv: nn.Conv2d, step: float, shares: Tensor | None = None) -> Iterator[NDArray[Any]]:
    weight = conv.weight if shares is None else conv.weight * shares[None, :, None, None]
    yield from _integers(weight, step)
    assert conv.bias is not None
    yield _little(conv.bias)


def _integers(weight: Tensor, step: float) -> Iterator[NDArray[Any]]:
    """The weights as int8, and what a one of their sums is worth by output."""
    whole, scales = quantize_weight(weight.detach().numpy())
    yield whole
    yield (scales.astype(np.float64) * step).astype("<f4")


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


def config_numbers(config: NetworkConfig) -> tuple[int, ...]:
    """A config as the nine whole numbers of the artefact's header."""
    return (
        *(config.joints, config.width, config.units, *config.modules),
        *map(int, (config.light_units, config.light_convs, config.attention)),
    )


def _little(tensor: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().numpy(), "<f4")


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT

"""What the INT8 parts of our CPU engine are defined by: integers in NumPy, and whole networks of them in PyTorch."""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from lehrnet.benchmarks.native_door import IntegerOperator
from lehrnet.calibration.steps import FLOAT_UNITS, Steps
from lehrnet.export.native import integer_operator
from lehrnet.model import NetworkConfig, PoseNetwork
from lehrnet.model.blocks import LConv
from lehrnet.model.ema import EMA
from lehrnet.model.forms import fold_norms

SMALL = NetworkConfig(width=8, units=1, modules=(1, 1, 1))
MOST = 127


def crops_of(count: int, size: tuple[int, int]) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((count, 3, *size), dtype=np.float32)


def conv_sums(whole: NDArray[np.int64], weight: NDArray[np.int8], stride: int) -> NDArray[np.int64]:
    """Sums (N, H/s, W/s, O) of a 3x3 conv of maps (N, H, W, I), exactly."""
    people, height, width, _ = whole.shape
    padded = np.pad(whole, ((0, 0), (1, 1), (1, 1), (0, 0)))
    sums = np.zeros((people, height // stride, width // stride, len(weight)), np.int64)
    for y in range(3):
        for x in range(3):
            seen = padded[:, y : y + height : stride, x : x + width : stride]
            sums += seen @ weight[:, :, y, x].T.astype(np.int64)
    return sums


def defined_sums(operator: IntegerOperator, maps: NDArray[np.float32]) -> NDArray[np.int64]:
    """The sums of an operator, before its factors, bias and what else is done in floats."""
    whole = np.rint(maps / np.float32(operator.steps[0])).clip(0, MOST).astype(np.int64)
    if operator.partial is None:
        return conv_sums(whole, operator.weight, operator.stride)
    assert operator.partial_factors is not None
    quarter, rest = np.split(whole, [len(operator.partial)], axis=3)
    sums = conv_sums(quarter, operator.partial, operator.stride).astype(np.float32) * operator.partial_factors
    quarter = np.rint(sums / np.float32(operator.steps[1])).clip(-MOST, MOST).astype(np.int64)
    if operator.stride == 2:
        rest = (rest[:, ::2, ::2] + rest[:, ::2, 1::2] + rest[:, 1::2, ::2] + rest[:, 1::2, 1::2] + 2) // 4
    return np.concatenate([quarter, rest], axis=3) @ operator.weight.T.astype(np.int64)


class IntegerModule(nn.Module):
    """An operator in INT8, in double precision: of whole numbers that is exact."""

    def __init__(self, module: nn.Module, steps: Steps) -> None:
        super().__init__()
        self.steps, self.module = steps, module
        tensors = [torch.from_numpy(tensor.astype(np.float64)) for tensor in integer_operator(module, steps)]
        light = isinstance(module, LConv)
        self.narrows = light and module.narrows
        self.partial = tensors[:2] if light and not self.narrows else None
        self.weight, self.factors, self.bias = tensors[-4:-1]
        conv = module.partial.conv if light else module
        assert isinstance(conv, nn.Conv2d)
        self.stride = conv.stride[0]

    def forward(self, x: Tensor) -> Tensor:
        whole = (x / self.steps.read).round().clip(0, MOST)
        if self.partial is not None:
            whole = self._partial(whole, *self.partial)
            return self._scaled(F.conv2d(whole, self.weight))
        if self.narrows:
            assert isinstance(self.module, LConv)
            return self.module.partial(self._scaled(F.conv2d(whole, self.weight)))
        return self._scaled(F.conv2d(whole, self.weight, stride=self.stride, padding=self.weight.shape[2] // 2))

    def _scaled(self, sums: Tensor) -> Tensor:
        return sums * self.factors[:, None, None] + self.bias[:, None, None]

    def _partial(self, whole: Tensor, weight: Tensor, factors: Tensor) -> Tensor:
        quarter, rest = whole[:, : len(weight)], whole[:, len(weight) :]
        assert self.steps.partial is not None
        quarter = F.conv2d(quarter, weight, stride=self.stride, padding=1) * factors[:, None, None]
        quarter = (quarter / self.steps.partial).round().clip(-MOST, MOST)
        if self.stride == 2:
            rest = ((F.avg_pool2d(rest, 2) * 4 + 2) / 4).floor()
        return torch.cat((quarter, rest), dim=1)


def steps_of(network: PoseNetwork, crops: NDArray[np.float32]) -> dict[str, Steps]:
    """Steps of every operator that may be in INT8, by the largest numbers of these crops."""
    folded = fold_norms(copy.deepcopy(network).double().eval())
    read: dict[str, float] = {}
    partial: dict[str, float] = {}
    operators = integer_paths(folded)
    for path, module in operators.items():
        _watch(module, path, read, partial)
    with torch.no_grad():
        folded(torch.from_numpy(crops).double())
    return {path: Steps(read[path], partial.get(path)) for path in operators}


def _watch(module: nn.Module, path: str, read: dict[str, float], partial: dict[str, float]) -> None:
    """Keep the steps of what an operator reads, and of its partial conv's output."""

    def before(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        read[path] = _step(inputs[0])

    def after(_: nn.Module, __: object, output: Tensor) -> None:
        partial[path] = _step(output)

    module.register_forward_pre_hook(before)
    if isinstance(module, LConv) and not module.narrows:
        module.partial.conv.register_forward_hook(after)


def _step(x: Tensor) -> float:
    return max(float(x.abs().max()), 1e-3) / MOST


def integer_paths(folded: nn.Module) -> dict[str, nn.Module]:
    """The operators of a network with its norms folded that may be in INT8, by their paths."""
    inside: set[nn.Module] = set()
    found = {}
    for path, module in folded.named_modules():
        if module in inside or path.split(".")[0] in FLOAT_UNITS:
            continue
        if isinstance(module, (EMA, LConv, nn.Conv2d)):
            inside.update(module.modules())
            if not isinstance(module, EMA):
                found[path] = module
    return found


def integer_twin(network: PoseNetwork, steps: dict[str, Steps], crops: NDArray[np.float32]) -> NDArray[np.float64]:
    """Heatmaps of a network whose operators named in `steps` are in INT8."""
    folded = fold_norms(copy.deepcopy(network).double().eval())
    for path, module in integer_paths(folded).items():
        if path in steps:
            parent, _, name = path.rpartition(".")
            setattr(folded.get_submodule(parent), name, IntegerModule(module, steps[path]))
    with torch.no_grad():
        return folded(torch.from_numpy(crops).double()).numpy()

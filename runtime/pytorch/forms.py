"""Fast, mathematically equal forms of the network for PyTorch on a GPU, to be chosen from by measurement."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...model.blocks import Residual
from ...model.forms.attention import FrozenEMA, group_weights
from ...model.forms.deploy import PairedResidual, deploy
from ...model.forms.lconv import LeanPair
from ...model.forms.rewrite import rewrite
from ...model.network import PoseNetwork
from ...model.stages import ExchangeModule
from ..devices import TORCH
from .operators import ema

SIDE_STREAMS = 3
"""Streams besides the main one: a stage has at most four branches."""


@dataclass(frozen=True)
class TorchForm:
    """An equal form. Its name is "torch_fp16" and the differences from the default, as in "torch_fp16_dense2_nchw"."""

    half: bool = True
    dense_from: int | None = None
    """Branch (0 is the finest) from which on LConvs are dense 3x3 convs; None: nowhere."""
    channels_last: bool = True
    fused: bool = True
    """Whether EMA and its shortcut are one kernel, and conv, bias and ReLU one cuDNN call."""
    parallel: bool = True
    """Whether the branches of a stage run in parallel on separate streams."""

    @property
    def name(self) -> str:
        parts = [TORCH, "fp16" if self.half else "fp32"]
        parts += [] if self.dense_from is None else [f"dense{self.dense_from}"]
        parts += [] if self.channels_last else ["nchw"]
        parts += [] if self.fused else ["plain"]
        return "_".join([*parts, *([] if self.parallel else ["serial"])])

    @property
    def number(self) -> torch.dtype:
        """Data type of weights and maps."""
        return torch.float16 if self.half else torch.float32

    @property
    def layout(self) -> torch.memory_format:
        """Memory format of weights and maps."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    @classmethod
    def parse(cls, name: str) -> "TorchForm":
        """Parse the name of a form; ValueError for any other."""
        found = next((form for form in all_forms() if form.name == name), None)
        if found is None:
            parts = "torch_fp16 or torch_fp32, then any of _dense0 to _dense3, _nchw, _plain, _serial in this order"
            raise ValueError(f"no form of the network is called {name!r}; expected {parts}")
        return found


def all_forms(halves: Sequence[bool] = (True, False)) -> Iterator[TorchForm]:
    """Every form, the default of each precision first."""
    yes = (True, False)
    for half, dense_from, last, fused, parallel in product(halves, (None, 3, 2, 1, 0), yes, yes, yes):
        yield TorchForm(half, dense_from, last, fused, parallel)


def neighbours(*, half: bool) -> list[TorchForm]:
    """The default form and those that differ from it in one choice: the first candidates for timing."""
    default = TorchForm(half)
    dense = [replace(default, dense_from=branch) for branch in (3, 2, 1, 0)]
    return [default, *dense, *(replace(default, **{name: False}) for name in ("channels_last", "fused", "parallel"))]


def gpu_network(network: PoseNetwork, input_size: tuple[int, int], form: TorchForm, device: torch.device) -> nn.Module:
    """A copy of the network in a form, on `device`; it equals the network in eval mode up to rounding."""
    deployed = deploy(network, input_size, dense_from=form.dense_from)
    streams = [torch.cuda.Stream(device) for _ in range(SIDE_STREAMS)] if device.type == "cuda" else []

    def change(_: str, module: nn.Module) -> nn.Module:
        if form.fused and isinstance(module, (PairedResidual, Residual)):
            return FusedUnit(module)
        if form.parallel and isinstance(module, ExchangeModule):
            return ParallelExchange(rewrite(module, change), streams)
        return module

    made = rewrite(deployed, change).to(device, form.number).eval()
    for module in made.modules():
        if isinstance(module, FusedUnit):
            module.weights = [weight.to(device) for weight in module.weights]
        elif isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=form.layout)
    return made


class FusedUnit(nn.Module):
    """A residual unit with EMA, shortcut and ReLU as one kernel: Y = ReLU(EMA(operators(X)) + X)."""

    def __init__(self, unit: PairedResidual | Residual) -> None:
        super().__init__()
        self.operators = FusedPair(unit.pair) if isinstance(unit, PairedResidual) else FusedConvs(unit)
        attention = getattr(unit, "attention", None)
        self.weights: list[Tensor] = []  # not buffers: they must stay float32 in a float16 network
        if isinstance(attention, FrozenEMA):
            self.weights = list(group_weights(attention).values())
            self.groups, self.eps = attention.groups, attention.eps

    def forward(self, x: Tensor) -> Tensor:
        y = self.operators(x)
        return ema(y, x, self.weights, self.groups, self.eps) if self.weights else F.relu(y + x)


class FusedPair(nn.Module):
    """A `LeanPair` whose convs with their bias and ReLU are one launch each."""

    def __init__(self, pair: LeanPair) -> None:
        super().__init__()
        self.pair = pair

    def forward(self, x: Tensor) -> Tensor:
        pair = self.pair
        x = pair.first_partial(x)
        quarter = pair.second_partial(conv_relu(pair.first_quarter, x))
        return pointwise(pair.second_pointwise, torch.cat((quarter, conv_relu(pair.first_rest, x)), dim=1))


class FusedConvs(nn.Module):
    """Conv, ReLU, conv: a unit with dense LConvs, or HRNet's own."""

    def __init__(self, unit: Residual) -> None:
        super().__init__()
        self.first, self.second = unit.first, unit.second

    def forward(self, x: Tensor) -> Tensor:
        return self.second(conv_relu(self.first, x) if isinstance(self.first, nn.Conv2d) else F.relu(self.first(x)))


def conv_relu(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """ReLU(conv(x)); on a GPU as one cuDNN call including the bias."""
    if not x.is_cuda:
        return F.relu(conv(x))
    assert not isinstance(conv.padding, str)
    return torch.cudnn_convolution_relu(
        x, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups
    )


def pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1x1 conv; for channels-last maps one matrix product with bias."""
    if not x.is_contiguous(memory_format=torch.channels_last):
        return conv(x)
    return F.linear(x.permute(0, 2, 3, 1), conv.weight.flatten(1), conv.bias).permute(0, 3, 1, 2)


class ParallelExchange(nn.Module):
    """An `ExchangeModule` whose branches, and then whose sums, are computed in parallel on several streams."""

    def __init__(self, exchange: ExchangeModule, streams: Sequence[Any]) -> None:
        super().__init__()
        self.branches, self.paths = exchange.branches, exchange.paths
        self.streams = streams

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        maps = self._together([partial(branch, x) for branch, x in zip(self.branches, maps, strict=True)])
        return self._together([partial(ExchangeModule.fuse, paths, maps) for paths in self.paths])

    def _together(self, works: Sequence[Callable[[], Tensor]]) -> list[Tensor]:
        """Run the first function on the current stream and the others on side streams; join all at the end.

        The caller must hold the inputs until the join: PyTorch reuses a freed tensor's memory on the stream that
        allocated it, even if another stream still reads it. Outputs may be used only after the join, for which the
        next fork waits.
        """
        if not self.streams:
            return [work() for work in works]
        main = torch.cuda.current_stream()
        begun = main.record_event()
        made = [works[0]()]
        for work, stream in zip(works[1:], self.streams, strict=False):
            stream.wait_event(begun)
            with torch.cuda.stream(stream):
                made.append(work())
        for stream in self.streams[: len(works) - 1]:
            main.wait_event(stream.record_event())
        return made

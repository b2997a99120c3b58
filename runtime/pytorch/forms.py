"""The network as PyTorch runs it the fastest on a GPU: few launches, in equal forms to choose from by measurement."""

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
"""Beside the main one: a stage has four branches at most."""


@dataclass(frozen=True)
class TorchForm:
    """One of the equal forms. Its name is "torch_fp16" and what differs from the default: "torch_fp16_dense2_nchw"."""

    half: bool = True
    dense_from: int | None = None
    """The branch from which on LConvs are dense 3x3 convs; None: nowhere."""
    channels_last: bool = True
    fused: bool = True
    """EMA with its shortcut as one kernel; conv, bias and ReLU as one of cuDNN's."""
    parallel: bool = True
    """The branches of a stage side by side, on streams of their own."""

    @property
    def name(self) -> str:
        parts = [TORCH, "fp16" if self.half else "fp32"]
        parts += [] if self.dense_from is None else [f"dense{self.dense_from}"]
        parts += [] if self.channels_last else ["nchw"]
        parts += [] if self.fused else ["plain"]
        return "_".join([*parts, *([] if self.parallel else ["serial"])])

    @property
    def number(self) -> torch.dtype:
        """Of weights and maps."""
        return torch.float16 if self.half else torch.float32

    @property
    def layout(self) -> torch.memory_format:
        """Of weights and maps."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    @classmethod
    def parse(cls, name: str) -> "TorchForm":
        """The form of a name; ValueError for any other."""
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
    """The default and what differs from it by one choice: what is worth timing before all are."""
    default = TorchForm(half)
    dense = [replace(default, dense_from=branch) for branch in (3, 2, 1, 0)]
    return [default, *dense, *(replace(default, **{name: False}) for name in ("channels_last", "fused", "parallel"))]


def gpu_network(network: PoseNetwork, input_size: tuple[int, int], form: TorchForm, device: torch.device) -> nn.Module:
    """A copy on `device`, from crops (N, 3, H, W) to heatmaps, equal to the network in eval mode."""
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
    """A residual unit in few launches: Y = ReLU(EMA(operators(X)) + X), the EMA of it by one kernel."""

    def __init__(self, unit: PairedResidual | Residual) -> None:
        super().__init__()
        self.operators = FusedPair(unit.pair) if isinstance(unit, PairedResidual) else FusedConvs(unit)
        attention = getattr(unit, "attention", None)
        self.weights: list[Tensor] = []  # no buffers: they stay float32 in a network of float16
        if isinstance(attention, FrozenEMA):
            self.weights = list(group_weights(attention).values())
            self.groups, self.eps = attention.groups, attention.eps

    def forward(self, x: Tensor) -> Tensor:
        y = self.operators(x)
        return ema(y, x, self.weights, self.groups, self.eps) if self.weights else F.relu(y + x)


class FusedPair(nn.Module):
    """A `LeanPair`, each conv with its bias and its ReLU as one launch."""

    def __init__(self, pair: LeanPair) -> None:
        super().__init__()
        self.pair = pair

    def forward(self, x: Tensor) -> Tensor:
        pair = self.pair
        x = pair.first_partial(x)
        quarter = pair.second_partial(conv_relu(pair.first_quarter, x))
        return pointwise(pair.second_pointwise, torch.cat((quarter, conv_relu(pair.first_rest, x)), dim=1))


class FusedConvs(nn.Module):
    """Conv, ReLU, conv: of dense LConvs, and of HRNet's units."""

    def __init__(self, unit: Residual) -> None:
        super().__init__()
        self.first, self.second = unit.first, unit.second

    def forward(self, x: Tensor) -> Tensor:
        return self.second(conv_relu(self.first, x) if isinstance(self.first, nn.Conv2d) else F.relu(self.first(x)))


def conv_relu(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """ReLU(conv(x)): on a GPU by cuDNN at once, bias and all."""
    if not x.is_cuda:
        return F.relu(conv(x))
    assert not isinstance(conv.padding, str)
    return torch.cudnn_convolution_relu(
        x, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups
    )


def pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1x1 conv; of maps that lie channels last as one matrix product with its bias."""
    if not x.is_contiguous(memory_format=torch.channels_last):
        return conv(x)
    return F.linear(x.permute(0, 2, 3, 1), conv.weight.flatten(1), conv.bias).permute(0, 3, 1, 2)


class ParallelExchange(nn.Module):
    """An `ExchangeModule` whose branches, and then whose sums, are computed side by side."""

    def __init__(self, exchange: ExchangeModule, streams: Sequence[Any]) -> None:
        super().__init__()
        self.branches, self.paths = exchange.branches, exchange.paths
        self.streams = streams

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        maps = self._together([partial(branch, x) for branch, x in zip(self.branches, maps, strict=True)])
        return self._together([partial(ExchangeModule.fuse, paths, maps) for paths in self.paths])

    def _together(self, works: Sequence[Callable[[], Tensor]]) -> list[Tensor]:
        """The first on the current stream, the others beside it; all are joined at the end.

        What they read must be held by the caller until then: PyTorch gives a freed tensor's memory to the stream that
        it was made on, whatever another stream still reads. What they make is used after the join only, and the next
        fork waits for that.
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

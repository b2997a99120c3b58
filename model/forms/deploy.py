"""The deployed network: norms folded, attention frozen, LConvs in a chosen form."""

from typing import Literal

from torch import Tensor, nn

from ..blocks import LConv, Residual
from ..ema import Grid
from ..network import PoseNetwork
from ..places import branch_of
from .attention import freeze_attention
from .lconv import LeanPair, SummedLConv, dense_lconv
from .norms import fold_norms
from .rewrite import rewrite

LConvForm = Literal["split", "sum", "dense", "pair"]
"""split: as in training. sum: two pointwise convs added. dense: one 3x3 conv.
pair: as in training, but without a split between the two LConvs of a residual unit (`LeanPair`)."""


class PairedResidual(nn.Module):
    """A residual unit whose two LConvs are one `LeanPair`: Y = ReLU(EMA(pair(X)) + X)."""

    def __init__(self, unit: Residual) -> None:
        super().__init__()
        assert isinstance(unit.first, LConv)
        assert isinstance(unit.second, LConv)
        self.pair = LeanPair(unit.first, unit.second)
        self.attention = getattr(unit, "attention", nn.Identity())
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.attention(self.pair(x)) + x)


def deploy(
    network: PoseNetwork, input_size: Grid, lconv: LConvForm = "pair", dense_from: int | None = None
) -> PoseNetwork:
    """A copy for inference on crops of `input_size` (height, width): equal to the network in eval mode.

    The residual units of branch `dense_from` (0 is the finest) and of coarser ones have dense LConvs.
    """

    def reform(path: str, module: nn.Module) -> nn.Module:
        if dense_from is not None and branch_of(path) >= dense_from:
            return dense_lconv(module) if isinstance(module, LConv) else module
        if lconv == "pair" and isinstance(module, Residual) and isinstance(module.first, LConv):
            return PairedResidual(module)
        if lconv == "sum" and isinstance(module, LConv):
            return SummedLConv(module)
        if lconv == "dense" and isinstance(module, LConv):
            return dense_lconv(module)
        return module

    return rewrite(fold_norms(freeze_attention(network, input_size)), reform).eval()

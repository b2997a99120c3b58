"""The paper's blocks with fused operators in their forward; parameters, names and numbers stay as they are."""

from torch import Tensor, nn
from torch.nn import functional as F

from ..model.blocks import Basicblock, Bottleneck, ConvNorm, LConv, Leanblock, LeEMAFusionblock, Residual
from ..model.ema import EMA
from ..model.network import Stem
from .fused_convs import fused_lconv, fused_pointwise, serves_lconv, serves_pointwise
from .fused_library import fused_library
from .fused_ops import fused_ema, fused_norm, serves


def activated(block: ConvNorm, x: Tensor, shortcut: Tensor | None = None, *, relu: bool = True) -> Tensor:
    """ReLU(BN(conv(x)) + shortcut), in one pass over the conv's output where that is served."""
    conv, norm = block.conv, block.norm
    x = fused_pointwise(conv, x) if isinstance(conv, nn.Conv2d) and serves_pointwise(conv, x) else conv(x)
    if norm.training and norm.affine and serves(x, norm.weight) and x.numel() > x.shape[1]:
        return fused_norm(norm, x, relu=relu, shortcut=shortcut)
    x = norm(x)
    x = x if shortcut is None else x + shortcut
    return F.relu(x) if relu else x


class FusedLConv(LConv):
    """LConv."""

    def forward(self, x: Tensor) -> Tensor:
        return fused_lconv(self, x) if serves_lconv(self, x) else super().forward(x)


class FusedConvNorm(ConvNorm):
    """ConvNorm in the ways between branches, where no ReLU follows at once."""

    def forward(self, x: Tensor) -> Tensor:
        return activated(self, x, relu=False)


class FusedStem(Stem):
    """Stem."""

    def forward(self, x: Tensor) -> Tensor:
        return activated(self.second, activated(self.first, x))


class FusedBottleneck(Bottleneck):
    """Bottleneck."""

    def forward(self, x: Tensor) -> Tensor:
        return activated(self.expand, activated(self.spatial, activated(self.reduce, x)), self.shortcut(x))


class FusedResidual(Residual):
    """Residual: Basicblock and Leanblock."""

    def forward(self, x: Tensor) -> Tensor:
        return activated(self.second, activated(self.first, x), x)


class FusedBasicblock(FusedResidual, Basicblock):
    """Basicblock."""


class FusedLeanblock(FusedResidual, Leanblock):
    """Leanblock."""


class FusedLeEMAFusionblock(LeEMAFusionblock):
    """LeEMAFusionblock, whose EMA, sum and ReLU are one operator."""

    def forward(self, x: Tensor) -> Tensor:
        y = activated(self.second, activated(self.first, x), relu=False)
        if serves(y, self.attention.pointwise.weight):
            return fused_ema(self.attention, y, x)
        return F.relu(self.attention(y) + x)


class FusedEMA(EMA):
    """EMA by itself."""

    def forward(self, x: Tensor) -> Tensor:
        return fused_ema(self, x) if serves(x, self.pointwise.weight) else super().forward(x)


FUSED: dict[type[nn.Module], type[nn.Module]] = {
    LConv: FusedLConv,
    ConvNorm: FusedConvNorm,
    Stem: FusedStem,
    Bottleneck: FusedBottleneck,
    Basicblock: FusedBasicblock,
    Leanblock: FusedLeanblock,
    LeEMAFusionblock: FusedLeEMAFusionblock,
    EMA: FusedEMA,
}


def fuse(network: nn.Module) -> bool:
    """Give a network's blocks their fused forward, in place; False where the operators cannot be had.

    Classes change, and nothing else: copies of the network are fused too, and state dicts are the same.
    """
    if fused_library() is None:
        return False
    for module in network.modules():
        module.__class__ = FUSED.get(type(module), type(module))
    return True

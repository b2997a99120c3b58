"""LE-HRNet: HRNet's body with light blocks, and one heatmap a joint (paper, sections 2.1 to 2.3)."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import Bottleneck, spatial
from .config import DEFAULT_VARIANT, VARIANTS, NetworkConfig, variant
from .stages import Stage, Transition

STEM_CHANNELS = 64  # HRNet: the stem and the middle of stage 1's Bottlenecks
STAGE1_CHANNELS = 256
STAGE1_UNITS = 4


class Stem(nn.Module):
    """Two 3x3 convs of stride 2: to a quarter of the input's resolution. The first stays dense."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.first = spatial(3, STEM_CHANNELS, stride=2, light=False)
        self.second = spatial(STEM_CHANNELS, STEM_CHANNELS, stride=2, light=config.light_convs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))))


class PoseNetwork(nn.Module):
    """Normalized RGB crops (N, 3, H, W) to heatmaps (N, K, H/4, W/4); H and W are multiples of 32."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        light = config.light_convs
        channels = (STEM_CHANNELS, *[STAGE1_CHANNELS] * STAGE1_UNITS)
        self.stem = Stem(config)
        self.stage1 = nn.Sequential(*(Bottleneck(before, after, light=light) for before, after in pairwise(channels)))
        self.transition1 = Transition(config, STAGE1_CHANNELS, branches=2)
        self.stage2 = Stage(config, 2, config.modules[0])
        self.transition2 = Transition(config, config.branch_channels(2)[-1], branches=3)
        self.stage3 = Stage(config, 3, config.modules[1])
        self.transition3 = Transition(config, config.branch_channels(3)[-1], branches=4)
        self.stage4 = Stage(config, 4, config.modules[2], last=True)
        self.head = nn.Conv2d(config.width, config.joints, 1)
        nn.init.normal_(self.head.weight, std=0.001)  # HRNet: heatmaps start near zero

    def forward(self, x: Tensor) -> Tensor:
        maps = self.transition1([self.stage1(self.stem(x))])
        maps = self.transition2(self.stage2(maps))
        maps = self.transition3(self.stage3(maps))
        return self.head(self.stage4(maps)[0])


def create_model(name: str = DEFAULT_VARIANT, joints: int = NetworkConfig.joints) -> PoseNetwork:
    """A freshly initialized network of a named variant; `list_models` gives their names.

    >>> network = create_model("lehrnet_w32_lean", joints=16)
    >>> network(torch.zeros(2, 3, 128, 96)).shape  # heatmaps of normalized RGB crops
    torch.Size([2, 16, 32, 24])
    """
    return PoseNetwork(variant(name, joints))


def list_models() -> list[str]:
    """The names that `create_model` takes, the default first."""
    return list(VARIANTS)

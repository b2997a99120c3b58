"""SimpleBaseline (Xiao et al., ECCV 2018): a classification backbone, three deconvolutions, one heatmap a joint."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

DECONVOLUTION = 256  # channels of each of the three


def conv_norm(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Conv that keeps or divides the grid, and BatchNorm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class SimpleBaseline(nn.Module):
    """Crops (N, 3, H, W) to heatmaps (N, K, H/4, W/4); `backbone` has `channels` at 1/32."""

    def __init__(self, backbone: "ResNet50 | MobileNetV2", joints: int) -> None:
        super().__init__()
        self.backbone = backbone
        widths = (backbone.channels, *[DECONVOLUTION] * 3)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.deconvolutions = nn.Sequential(*layers)
        self.head = nn.Conv2d(DECONVOLUTION, joints, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.deconvolutions(self.backbone(x)))


class Bottleneck(nn.Module):
    """ResNet's: 1x1, 3x3 with the stride, 1x1 to four times the width."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.reduce = conv_norm(inputs, width)
        self.spatial = conv_norm(width, width, 3, stride)
        self.expand = conv_norm(width, outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else conv_norm(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(F.relu(self.spatial(F.relu(self.reduce(x)))))
        return F.relu(y + self.shortcut(x))


class ResNet50(nn.Module):
    """ResNet-50 without its classifier (He et al., CVPR 2016)."""

    channels = 2048

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_norm(3, 64, 7, 2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        blocks, inputs = [], 64
        for stage, count in enumerate((3, 4, 6, 3)):
            width = 64 << stage
            for index in range(count):
                blocks.append(Bottleneck(inputs, width, stride=2 if stage and not index else 1))
                inputs = 4 * width
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.pool(F.relu(self.stem(x))))


class InvertedResidual(nn.Module):
    """1x1 to a larger width, depthwise 3x3, 1x1 to a narrow one; a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        layers = [conv_norm(inputs, width), nn.ReLU6()] if expansion > 1 else []
        layers += [conv_norm(width, width, 3, stride, groups=width), nn.ReLU6(), conv_norm(width, outputs)]
        self.layers = nn.Sequential(*layers)
        self.same = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.same else self.layers(x)


class MobileNetV2(nn.Module):
    """MobileNetV2 without its classifier (Sandler et al., CVPR 2018, Table 2)."""

    channels = 1280
    # expansion, channels, repeats, stride
    ROWS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_norm(3, 32, 3, 2), nn.ReLU6()]
        inputs = 32
        for expansion, outputs, repeats, stride in self.ROWS:
            for index in range(repeats):
                layers.append(InvertedResidual(inputs, outputs, 1 if index else stride, expansion))
                inputs = outputs
        self.layers = nn.Sequential(*layers, conv_norm(inputs, self.channels), nn.ReLU6())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)

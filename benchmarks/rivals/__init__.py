"""The paper's rivals and RTMPose, defined for timing: with random weights, since time does not depend on them."""

from collections.abc import Callable

from torch import nn

from .lite_hrnet import LiteHRNet
from .rtmpose import M, RTMPose, S
from .simple_baseline import MobileNetV2, ResNet50, SimpleBaseline

JOINTS = 17

RIVALS: dict[str, Callable[[], nn.Module]] = {
    "lite_hrnet_18": lambda: LiteHRNet((2, 4, 2), JOINTS),
    "lite_hrnet_30": lambda: LiteHRNet((3, 8, 3), JOINTS),
    "rtmpose_s": lambda: RTMPose(S, JOINTS),
    "rtmpose_m": lambda: RTMPose(M, JOINTS),
    "simplebaseline_mobilenetv2": lambda: SimpleBaseline(MobileNetV2(), JOINTS),
    "simplebaseline_resnet50": lambda: SimpleBaseline(ResNet50(), JOINTS),
}

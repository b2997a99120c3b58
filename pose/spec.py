"""What a pose network expects of a crop and what its heatmaps mean: the contract between training and devices."""

import math
from dataclasses import dataclass

from .heatmap import DecodeMethod
from .skeleton import COCO17, MPII16, Skeleton, skeleton_named

LARGEST_SIDE = 4096  # px of a crop: sixteen times the paper's


@dataclass(frozen=True)
class PoseSpec:
    """Travels with every checkpoint and bundle. The defaults are the paper's and HRNet's practice for COCO."""

    skeleton: str = COCO17.name
    input_size: tuple[int, int] = (256, 192)
    """Height and width of a crop in px, multiples of 32."""
    padding: float = 1.25
    """A person's box grows by this factor before it is cropped (HRNet)."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Of RGB values between 0 and 1, subtracted (ImageNet)."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Of RGB values between 0 and 1, divided by (ImageNet)."""
    sigma: float = 2.0
    """Of the target Gaussian, in cells (HRNet)."""
    decode: DecodeMethod = "quarter"

    def __post_init__(self) -> None:
        skeleton_named(self.skeleton)
        if len(self.input_size) != 2 or any(side < 32 or side % 32 for side in self.input_size):
            raise ValueError(f"input size is {self.input_size}, expected (height, width) in multiples of 32")
        if max(self.input_size) > LARGEST_SIDE:
            raise ValueError(f"input size is {self.input_size}, expected at most {LARGEST_SIDE} px a side")
        if not (self.padding > 0 and self.sigma > 0 and min(self.std) > 0):
            raise ValueError(f"padding {self.padding}, sigma {self.sigma}, std {self.std}: expected positive numbers")
        if not all(math.isfinite(value) for value in (self.padding, self.sigma, *self.mean, *self.std)):
            raise ValueError(
                f"padding {self.padding}, sigma {self.sigma}, mean {self.mean}, std {self.std}: not finite"
            )

    @property
    def joints(self) -> Skeleton:
        """The skeleton itself."""
        return skeleton_named(self.skeleton)


COCO = PoseSpec()
MPII = PoseSpec(skeleton=MPII16.name, input_size=(256, 256))


def spec_for(joints: int) -> PoseSpec:
    """The usual spec of a network with that many joints."""
    for spec in (COCO, MPII):
        if len(spec.joints) == joints:
            return spec
    raise ValueError(f"no skeleton has {joints} joints; expected 17 (COCO) or 16 (MPII)")

"""What a pose network expects of a crop and what its heatmaps mean: the contract between training and devices."""

from dataclasses import asdict, dataclass
from typing import Any

from ..parsing import parse
from .heatmap import DECODE_METHODS, FRAMES, HEATMAP_STRIDE, DecodeMethod, Frame
from .skeleton import COCO17, MPII16, SKELETONS, Skeleton, skeleton_named

LARGEST_SIDE = 4096  # px: no crop of one person needs more, and a file must not ask for any memory
LARGEST_STRIDE = 16  # px; the smallest crop then has two cells each way
LARGEST_FACTOR = 1000  # of padding, sigma and normalization


@dataclass(frozen=True)
class PoseSpec:
    """Travels with every checkpoint and bundle. The defaults are the paper's and HRNet's practice for COCO."""

    skeleton: Skeleton = COCO17
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
    frame: Frame = "edges"
    """How cells, crop and image hang together: that of the code which trained the network."""
    stride: int = HEATMAP_STRIDE
    """Px of the crop that a cell has, on each axis."""
    min_score: float = 0.2
    """Lowest score of a joint that is drawn: below it the network is unsure. Chosen on held-out people where it was
    trained here (`metrics.confident_score`)."""

    def __post_init__(self) -> None:
        known = SKELETONS.get(self.skeleton.name, self.skeleton)
        if self.skeleton != known:
            raise ValueError(f"the skeleton is called {known.name!r}, but is not lehrnet's of that name")
        sides = self.input_size
        if len(sides) != 2 or not all(_is_side(side) for side in sides):
            raise ValueError(f"input size is {sides}, expected (height, width) in multiples of 32 up to {LARGEST_SIDE}")
        if not 1 <= self.stride <= LARGEST_STRIDE or any(side % self.stride for side in sides):
            raise ValueError(
                f"stride is {self.stride}, expected a divisor of the input size from 1 to {LARGEST_STRIDE}"
            )
        if not all(0 < value <= LARGEST_FACTOR for value in (self.padding, self.sigma, *self.std)):
            raise ValueError(
                f"padding {self.padding}, sigma {self.sigma}, std {self.std}: "
                f"expected positive numbers up to {LARGEST_FACTOR}"
            )
        if len(self.mean) != 3 or len(self.std) != 3 or not all(abs(value) <= LARGEST_FACTOR for value in self.mean):
            raise ValueError(f"mean {self.mean}, std {self.std}: expected three finite numbers each")
        if self.decode not in DECODE_METHODS:
            raise ValueError(f"decode is {self.decode!r}, expected one of {', '.join(DECODE_METHODS)}")
        if not 0 <= self.min_score <= LARGEST_FACTOR:
            raise ValueError(f"min_score is {self.min_score}, expected 0 to {LARGEST_FACTOR}")
        if self.frame not in FRAMES:
            raise ValueError(f"frame is {self.frame!r}, expected one of {', '.join(FRAMES)}")

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of a heatmap in cells."""
        return self.input_size[0] // self.stride, self.input_size[1] // self.stride

    def facts(self) -> dict[str, Any]:
        """For JSON: a skeleton of lehrnet's by its name, any other whole."""
        named = self.skeleton.name in SKELETONS
        return {**asdict(self), "skeleton": self.skeleton.name if named else asdict(self.skeleton)}

    @classmethod
    def read(cls, facts: Any, key: str = "spec") -> "PoseSpec":
        """Of JSON, with the skeleton by name or whole; ValueError names the key that is wrong."""
        name = facts.get("skeleton") if isinstance(facts, dict) else None
        if isinstance(name, str):
            facts = {**facts, "skeleton": asdict(skeleton_named(name))}
        return parse(cls, facts, key)


def _is_side(side: object) -> bool:
    return isinstance(side, int) and 32 <= side <= LARGEST_SIDE and side % 32 == 0


COCO = PoseSpec()
MPII = PoseSpec(skeleton=MPII16, input_size=(256, 256))


def spec_for(joints: int, skeleton: Skeleton | None = None) -> PoseSpec:
    """The usual spec of a network with that many joints, or with those of `skeleton`."""
    if skeleton is not None:
        if len(skeleton) != joints:
            raise ValueError(f"the network has {joints} joints, but {skeleton.name} has {len(skeleton)}")
        return MPII if skeleton == MPII16 else PoseSpec(skeleton)
    for spec in (COCO, MPII):
        if len(spec.skeleton) == joints:
            return spec
    raise ValueError(
        f"no usual skeleton has {joints} joints (COCO's has 17, MPII's 16): name the joints with --skeleton FILE"
    )

"""Training recipes: optimizer, schedule and augmentation as values."""

import math
from dataclasses import dataclass, field
from typing import Literal

from ..pose.augment import Augmentation
from ..pose.spec import COCO, MPII, PoseSpec


@dataclass(frozen=True)
class Recipe:
    """Optimizer, schedule and augmentation. The defaults are the paper's for COCO (section 3)."""

    spec: PoseSpec = COCO
    epochs: int = 300
    batch: int = 16
    learning_rate: float = 1e-3
    schedule: Literal["steps", "cosine"] = "steps"
    """steps: divided by ten at each milestone. cosine: linear warm-up, then cosine decay to zero."""
    milestones: tuple[int, ...] = (120, 170, 200, 260)
    """Epochs."""
    warm_up: float = 0.0
    """Warm-up of the cosine schedule, as a share of the training."""
    weight_decay: float = 0.0
    """0 is Adam, more is AdamW."""
    average: float = 0.0
    """Decay of the moving average of weights that is validated and kept; 0 keeps the last weights."""
    peak: float = 0.0
    """Weight of the loss's second term (`loss.heatmap_loss`), which the paper does not have."""
    teach: float = 0.0
    """Share of a teacher in the loss; 0 without one."""
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if not (is_whole(self.epochs, 1) and is_whole(self.batch, 1) and 0 < self.learning_rate < math.inf):
            raise ValueError(f"{self.epochs} epochs, batch {self.batch}, rate {self.learning_rate}: expected positive")
        if self.schedule not in ("steps", "cosine"):
            raise ValueError(f"schedule is {self.schedule!r}, expected 'steps' or 'cosine'")
        for name in ("warm_up", "average", "teach"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 0 and less than 1")
        for name in ("weight_decay", "peak"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a finite number from 0")

    def rate(self, progress: float) -> float:
        """Learning rate when a share `progress` (0 to 1) of the training is done."""
        if self.schedule == "steps":
            passed = sum(progress * self.epochs >= milestone for milestone in self.milestones)
            return self.learning_rate / 10**passed
        if progress < self.warm_up:
            return self.learning_rate * progress / self.warm_up
        left = (progress - self.warm_up) / (1 - self.warm_up)
        return self.learning_rate * (1 + math.cos(math.pi * min(left, 1.0))) / 2


def is_whole(value: object, least: int) -> bool:
    """Whether a setting is an integer of at least `least`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


RECIPES: dict[str, Recipe] = {
    "coco": Recipe(),
    # The paper does not give the augmentation for MPII: COCO's is used.
    "mpii": Recipe(spec=MPII, epochs=210, batch=8, milestones=(170, 200)),
    # Ours, for a limited time budget. Differences from the paper: larger batches, AdamW on a cosine, averaged weights,
    # half-body and brightness augmentation, and as many epochs as the budget allows.
    "short": Recipe(
        epochs=100,
        batch=128,
        learning_rate=2e-3,
        schedule="cosine",
        warm_up=0.05,
        weight_decay=0.05,
        average=0.999,
        augmentation=Augmentation(half_body=0.2, brightness=0.2),
    ),
    # Ours, for an hour or two on a CPU: small batches, mild augmentation, and a loss with large gradients from the
    # start. Use a small --size: the network is fully convolutional, and training can continue at a larger one.
    "quick": Recipe(
        epochs=4,
        batch=32,
        learning_rate=3e-3,
        schedule="cosine",
        warm_up=0.05,
        weight_decay=0.02,
        average=0.99,
        peak=0.02,
        augmentation=Augmentation(rotation_deg=30, scale=(0.75, 1.25), brightness=0.2),
    ),
}

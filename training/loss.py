"""The paper's loss (Eq. 1)."""

from torch import Tensor


def heatmap_loss(found: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Mean squared error of heatmaps (N, K, h, w) over cells and joints; weights (N, K) are 0 without a label."""
    squares = (found.float() - wanted).square().mean((2, 3))
    return (squares * weights).sum() / weights.sum().clamp(min=1)

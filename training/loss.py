"""The paper's loss (Eq. 1), an optional cross-entropy term for faster convergence, and a teacher's share."""

from torch import Tensor

SHARPNESS = 10.0  # a heatmap's peak of 1 then stands exp(10) above its background


def heatmap_loss(found: Tensor, wanted: Tensor, weights: Tensor, peak: float = 0.0) -> Tensor:
    """Mean squared error of heatmaps (N, K, h, w) over cells and joints; weights (N, K) are 0 for unlabelled joints.

    `peak` weighs a second term: the cross-entropy between both heatmaps' sharpened softmaxes over the cells. It has the
    same minimum, but unlike the squared error a large gradient while the peak is missing.
    """
    found = found.float()
    losses = (found - wanted).square().mean((2, 3))
    if peak:
        target = (SHARPNESS * wanted).flatten(2).softmax(2)
        losses = losses - peak * (target * (SHARPNESS * found).flatten(2).log_softmax(2)).sum(2)
    return (losses * weights).sum() / weights.sum().clamp(min=1)


def taught_loss(labels: Tensor, found: Tensor, taught: Tensor, sure: Tensor, teach: float) -> Tensor:
    """The labels' loss and the teacher's, which has the share `teach`.

    The teacher's is the mean squared error to its heatmaps (N, K, h, w), each joint weighed by how sure it is (N, K),
    whether the joint has a label or not.
    """
    return (1 - teach) * labels + teach * heatmap_loss(found, taught, sure)

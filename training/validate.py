"""Accuracy on people that were held out: fast enough to run during training."""

import numpy as np
import torch
from torch import nn

from ..pose.heatmap import cells_to_crop, decode
from ..pose.metrics import oks
from .batches import Batches

THRESHOLDS = np.arange(0.5, 0.951, 0.05)


@torch.inference_mode()
def held_out_accuracy(network: nn.Module, people: Batches, size: int) -> float:
    """Share of people whose OKS exceeds a threshold, averaged over 0.50, 0.55 to 0.95.

    Close to AP with the labels' boxes, but nobody is ranked: use `lehrnet evaluate` for AP.
    """
    spec, similar = people.spec, []
    for crops, truth, areas in people.plain(size):
        cells, _ = decode(network(crops).float().cpu().numpy(), spec.decode)
        similar.append(oks(cells_to_crop(cells), truth, areas, spec.joints))
    return float((np.concatenate(similar)[:, None] >= THRESHOLDS).mean())

"""Validation during training: AP on held-out people, from the pack."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..pose.evaluate import metrics_by_person
from ..pose.metrics import COCO_METRICS, confident_score
from ..pose.points import crop_points
from .batches import Batches
from .processes import Processes

FIGURE, MIN_SCORE = COCO_METRICS[0], "min_score"


@torch.inference_mode()
def held_out_metrics(
    heatmaps_of: Callable[[Tensor], Tensor], people: Batches, size: int, processes: Processes | None = None
) -> dict[str, float]:
    """COCO metrics on held-out people in batches of `size`, and the lowest score of a joint that may be drawn.

    The result does not depend on the number of processes.

    Each person is an image of its own with the labelled box. AP(M) and AP(L) refer to areas in px of the stored crop;
    `lehrnet evaluate` computes them on the photographs.
    """
    processes = processes or Processes()
    parts = []
    for rows, crops, truth, areas in people.plain(size, processes.rank, processes.count):
        parts.append((rows, crop_points(heatmaps_of(crops).cpu().numpy(), people.spec), truth, areas))
    # No person is counted twice: each process has rows of its own, and no sampler pads them.
    gathered = [part for share in processes.gather(parts) for part in share]
    rows, points, truth, areas = (np.concatenate([part[index] for part in gathered]) for index in range(4))
    order = np.argsort(rows)
    points, truth, areas = points[order], truth[order], areas[order]
    confident = confident_score(points, truth, areas, people.spec.skeleton)
    figures = metrics_by_person(points, truth, areas, people.spec)
    return {**figures, MIN_SCORE: float("nan") if confident is None else confident}

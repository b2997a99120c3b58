"""AP on people that were held out: fast enough to run during training."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..pose.boxes import PERSON_CATEGORY
from ..pose.evaluate import person_scores
from ..pose.heatmap import cells_to_crop, decode
from ..pose.metrics import COCO_FIGURES, coco_figures
from ..pose.spec import PoseSpec
from .batches import Batches
from .processes import Processes

FIGURE = COCO_FIGURES[0]


@torch.inference_mode()
def held_out_figures(
    heatmaps_of: Callable[[Tensor], Tensor], people: Batches, size: int, processes: Processes | None = None
) -> dict[str, float]:
    """COCO's figures of people in their own crops, `size` at a time; the same however many processes share the work.

    Each person is an image of its own and each box the label's, so that only joints can be wrong. AP(M) and AP(L)
    speak of px of the stored crop: `lehrnet evaluate` gives those of the photographs.
    """
    processes = processes or Processes()
    parts = []
    for rows, crops, truth, areas in people.plain(size, processes.rank, processes.count):
        cells, scores = decode(heatmaps_of(crops).cpu().numpy(), people.spec.decode)
        points = np.concatenate((cells_to_crop(cells), scores[..., None]), axis=2)
        parts.append((rows, points, truth, areas))
    # Nobody is counted twice: every process brought its own rows, and no sampler filled them up.
    gathered = [part for share in processes.gather(parts) for part in share]
    rows, points, truth, areas = (np.concatenate([part[place] for part in gathered]) for place in range(4))
    order = np.argsort(rows)
    return _figures(points[order], truth[order], areas[order], people.spec)


def _figures(
    points: NDArray[np.float64], truth: NDArray[np.float64], areas: NDArray[np.float64], spec: PoseSpec
) -> dict[str, float]:
    """AP and its kin of points (N, K, 3) against labels (N, K, 3), one person an image."""
    height, width = spec.input_size
    frame = {"category_id": PERSON_CATEGORY, "bbox": [0, 0, width, height], "iscrowd": 0}
    people: list[dict[str, Any]] = [
        {
            **frame,
            "id": row + 1,
            "image_id": row,
            "keypoints": truth[row].ravel().tolist(),
            "num_keypoints": int((truth[row, :, 2] > 0).sum()),
            "area": float(areas[row]),
        }
        for row in range(len(truth))
    ]
    labels = {
        "images": [{"id": row, "width": width, "height": height} for row in range(len(truth))],
        "annotations": people,
        "categories": [{"id": PERSON_CATEGORY, "name": "person", "keypoints": list(spec.joints.joints)}],
    }
    scores = person_scores(points)
    results = [
        {
            "image_id": row,
            "category_id": PERSON_CATEGORY,
            "keypoints": points[row].ravel().tolist(),
            "score": float(scores[row]),
        }
        for row in range(len(points))
    ]
    return coco_figures(labels, results, spec.joints)

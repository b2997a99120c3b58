"""From a detector's outputs to candidates: boxes in the description's unit, and the score of a person in each."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .description import Description

Outputs = Mapping[str, NDArray[np.floating]]
Candidates = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Boxes (A, 4) xyxy, and scores (A,) between 0 and 1."""

MEDIAPIPE_ANCHORS = ((28, 2), (14, 2), (7, 6))
"""Cells a side and anchors a cell: 2254 (mediapipe/modules/pose_detection, SsdAnchorsCalculator at 224 px)."""
MEDIAPIPE_SIDE = 224.0
HIP, BODY = slice(4, 6), slice(6, 8)
"""Columns of the centre of the hips and of the point on the circle round the whole body."""


def decode(outputs: Outputs, description: Description, size: tuple[int, int]) -> Candidates:
    """Candidates of one image; `size` (height, width) is that of the network's input in px.

    ValueError if the outputs do not have the described shape, or there is no class for people.
    """
    match description.decode:
        case "grid":
            return _grid(outputs, description, size)
        case "distances":
            return _distances(outputs, description, size)
        case "mediapipe":
            return _mediapipe(outputs)
        case "table":
            return _table(outputs, description)


def _table(outputs: Outputs, description: Description) -> Candidates:
    """Boxes that are written out, in one tensor or in several."""
    if description.box_outputs and description.score_outputs:
        boxes, scores = _rows(outputs, description.box_outputs[0]), _rows(outputs, description.score_outputs[0])
        if description.label_output is not None:
            labels = _rows(outputs, description.label_output).ravel()
            people = _of_class(scores.ravel(), labels, description)
        else:
            people = _person(scores, description)
        return _xyxy(boxes, description), people
    table = _rows(outputs, description.box_outputs[0] if description.box_outputs else next(iter(outputs)))
    table = table.T if description.channels_first else table
    match description.columns:
        case "class,score,box":
            return _xyxy(table[:, 2:6], description), _of_class(table[:, 1], table[:, 0], description)
        case "box,score,class":
            named = description.label_output
            labels = table[:, 5] if named is None else _rows(outputs, named).ravel()
            return _xyxy(table[:, :4], description), _of_class(table[:, 4], labels, description)
        case "box,objectness,scores":
            return _xyxy(table[:, :4], description), table[:, 4] * _person(table[:, 5:], description)
        case "box,scores":
            return _xyxy(table[:, :4], description), _person(table[:, 4:], description)


def _grid(outputs: Outputs, description: Description, size: tuple[int, int]) -> Candidates:
    """YOLOX: the centre by its offset from the cell, sides by their logarithm, in strides."""
    table = _rows(outputs, next(iter(outputs)))
    cells, strides = _cells(size, description.strides)
    if len(table) != len(cells):
        raise ValueError(f"it has {len(table)} rows, expected {len(cells)} cells of strides {description.strides}")
    centres = (table[:, :2] + cells) * strides
    half = np.exp(table[:, 2:4].clip(-20, 20)) * strides / 2
    boxes = np.concatenate((centres - half, centres + half), axis=1)
    return boxes, table[:, 4] * _person(table[:, 5:], description)


def _distances(outputs: Outputs, description: Description, size: tuple[int, int]) -> Candidates:
    """NanoDet and PicoDet: for each side a distribution over whole strides (generalized focal loss)."""
    bins = description.bins
    if description.box_outputs:
        sides = np.concatenate([_rows(outputs, name) for name in description.box_outputs])
        scores = np.concatenate([_rows(outputs, name) for name in description.score_outputs])
    else:
        table = _rows(outputs, next(iter(outputs)))
        scores, sides = table[:, : -4 * bins], table[:, -4 * bins :]
    cells, strides = _cells(size, description.strides)
    if len(sides) != len(cells) or len(scores) != len(cells) or sides.shape[1] != 4 * bins:
        raise ValueError(
            f"it has {len(scores)} rows of scores and {sides.shape} of distances, expected {len(cells)} cells of "
            f"strides {description.strides} with 4 x {bins} bins"
        )
    logits = sides.reshape(len(cells), 4, bins)
    shares = np.exp(logits - logits.max(2, keepdims=True))
    lengths = (shares / shares.sum(2, keepdims=True)) @ np.arange(bins) * strides
    shift = {"corner": 0.0, "pixel": (strides - 1) / 2, "middle": strides / 2}[description.prior]
    priors = cells * strides + shift
    return np.concatenate((priors - lengths[:, :2], priors + lengths[:, 2:]), axis=1), _person(scores, description)


def _mediapipe(outputs: Outputs) -> Candidates:
    """A person is the square round the circle about the hips through the body's point; unit: shares of the input."""
    by_width = {each.shape[-1]: each.reshape(-1, each.shape[-1]).astype(np.float64) for each in outputs.values()}
    if set(by_width) != {12, 1}:
        raise ValueError(f"its outputs have {sorted(by_width)} columns, expected 12 and 1")
    anchors = np.concatenate(
        [np.repeat(_square(cells), per_cell, axis=0) for cells, per_cell in MEDIAPIPE_ANCHORS], dtype=np.float64
    )
    values, logits = by_width[12], by_width[1]
    if len(values) != len(anchors):
        raise ValueError(f"it has {len(values)} rows, expected {len(anchors)}")
    hips, body = (values[:, columns] / MEDIAPIPE_SIDE + anchors for columns in (HIP, BODY))
    radius = np.linalg.norm(body - hips, axis=1, keepdims=True)
    return np.concatenate((hips - radius, hips + radius), axis=1), _sigmoid(logits[:, 0])


def _square(cells: int) -> NDArray[np.float64]:
    """Centres (cells^2, 2) of the cells of a square, as shares of its side."""
    y, x = np.indices((cells, cells)).reshape(2, -1)
    return (np.stack((x, y), axis=1) + 0.5) / cells


def _cells(size: tuple[int, int], strides: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Indices (A, 2), x and y, of the cells of all strides row by row, and their strides (A, 1) in px."""
    cells, sides = [], []
    for stride in strides:
        rows, columns = (-(-side // stride) for side in size)
        y, x = np.indices((rows, columns)).reshape(2, -1)
        cells.append(np.stack((x, y), axis=1))
        sides.append(np.full((len(x), 1), stride))
    return np.concatenate(cells, dtype=np.float64), np.concatenate(sides, dtype=np.float64)


def _rows(outputs: Outputs, name: str) -> NDArray[np.float64]:
    """An output without its batch axis, as a table."""
    if name not in outputs:
        raise ValueError(f"it has no output {name!r}; there are {', '.join(outputs)}")
    values = np.asarray(outputs[name], np.float64)
    return values[0] if values.ndim == 3 else values


def _xyxy(boxes: NDArray[np.float64], description: Description) -> NDArray[np.float64]:
    if description.boxes == "xyxy":
        return boxes
    half = boxes[:, 2:] / 2
    return np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), axis=1)


def _person(scores: NDArray[np.float64], description: Description) -> NDArray[np.float64]:
    """Scores (A,) of the person's class among (A, C)."""
    known = scores[:, : description.classes]
    if not 0 <= description.person_class < known.shape[1]:
        raise ValueError(
            f"it has classes 0 to {known.shape[1] - 1}, and that of people is said to be {description.person_class}: "
            "there is no such class; --person-class names another"
        )
    column = known[:, description.person_class]
    return _sigmoid(column) if description.scores == "logit" else column


def _of_class(
    scores: NDArray[np.float64], labels: NDArray[np.float64], description: Description
) -> NDArray[np.float64]:
    """Scores (A,), 0 where the label is another than the person's."""
    return np.where(labels == description.person_class, scores, 0.0)


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-logits.clip(-60, 60)))

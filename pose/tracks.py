"""Identities over time as JSON, and how well found ones agree with true ones: IDF1 and CLEAR.

IDF1: Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking", 2016. CLEAR:
Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance", 2008.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import write_text
from ..parsing import naming, parse_json, read_json
from .crop import check_boxes, corners
from .overlap import iou

FORMAT = "lehrnet-tracks-1"
SAME_IOU = 0.5
"""Boxes with at least this IoU may be of one person (MOTChallenge)."""


@dataclass(frozen=True)
class TracksFrame:
    """The people of one frame."""

    frame: int
    time_s: float
    ids: NDArray[np.int64]
    """(N,), each once."""
    boxes: NDArray[np.float64]
    """(N, 4) xyxy, px."""


def write_tracks(path: Path, frames: Sequence[TracksFrame]) -> None:
    """Write frames as MOT-like JSON, atomically: for each frame the identities and boxes x, y, width, height."""
    rows = [
        {
            "frame": each.frame,
            "time_s": round(each.time_s, 6),
            "people": [
                {"id": identity, "bbox": [round(side, 2) for side in (*box[:2], *(box[2:] - box[:2]))]}
                for identity, box in zip(each.ids.tolist(), each.boxes, strict=True)
            ],
        }
        for each in frames
    ]
    write_text(path, json.dumps({"format": FORMAT, "frames": rows}) + "\n")


def read_tracks(path: Path) -> list[TracksFrame]:
    """Read what `write_tracks` wrote, or the JSON lines of `lehrnet predict --track`; ValueError names the frame."""
    if path.suffix == ".jsonl":
        if not path.is_file():
            raise FileNotFoundError(f"no file at {path}")
        with naming(path):
            rows: Any = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    else:
        content = read_json(path)
        rows = content.get("frames") if isinstance(content, dict) and content.get("format") == FORMAT else None
    with naming(path):
        if not isinstance(rows, list):
            raise ValueError(f"expected {FORMAT} JSON, or the JSON lines of predict --track in a file named .jsonl")
        frames = [_frame(row, number) for number, row in enumerate(rows)]
        if len({frame.frame for frame in frames}) < len(frames):
            raise ValueError("a frame's number stands there twice")
    return frames


def _frame(row: Any, number: int) -> TracksFrame:
    match row:
        case {"frame": int(frame), "people": list(people)} if all(
            isinstance(person, Mapping) and isinstance(person.get("id"), int) for person in people
        ):
            ids = np.array([person["id"] for person in people], np.int64)
        case _:
            raise ValueError(
                f"entry {number} has no frame and people with ids, expected both: was it written with --track?"
            )
    if len(set(ids.tolist())) < len(ids):
        raise ValueError(f"frame {frame} has an identity twice")
    try:
        boxes = check_boxes(corners(np.array([person["bbox"] for person in people], np.float64).reshape(-1, 4)))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"frame {frame}: {error}") from error
    return TracksFrame(frame, float(row.get("time_s", number)), ids, boxes)


def track_metrics(truth: Sequence[TracksFrame], found: Sequence[TracksFrame]) -> dict[str, float]:
    """IDF1, MOTA, identity switches, misses and false people of found tracks; frames are compared by their number.

    Frames of `truth` that were not looked at count as misses unless they are left out of `truth` too.
    """
    by_number = {frame.frame: frame for frame in found}
    nobody = np.empty(0, np.int64), np.empty((0, 4))
    true_ids = sorted({identity for frame in truth for identity in frame.ids.tolist()})
    found_ids = sorted({identity for frame in found for identity in frame.ids.tolist()})
    together = np.zeros((len(true_ids), len(found_ids)))
    last: dict[int, int] = {}
    switches = hits = 0
    for frame in truth:
        other = by_number.get(frame.frame)
        ids, boxes = (other.ids, other.boxes) if other else nobody
        alike = iou(frame.boxes, boxes)
        for row, column in np.argwhere(alike >= SAME_IOU).tolist():
            together[true_ids.index(int(frame.ids[row])), found_ids.index(int(ids[column]))] += 1
        for row, column in _clear_pairs(frame.ids, ids, alike, last):
            true, given = int(frame.ids[row]), int(ids[column])
            switches += last.get(true, given) != given
            last[true], hits = given, hits + 1
    people = sum(len(frame.ids) for frame in truth)
    given = sum(len(frame.ids) for frame in found)
    kept = sum(together[pair] for pair in best_pairs(together))
    misses, false = people - hits, given - hits
    return {
        "idf1": float(2 * kept / (people + given)) if people + given else 1.0,
        "mota": 1 - (misses + false + switches) / people if people else float("nan"),
        "switches": switches,
        "misses": misses,
        "false": false,
        "people": people,
        "true_ids": len(true_ids),
        "found_ids": len(found_ids),
    }


def _clear_pairs(
    true_ids: NDArray[np.int64], ids: NDArray[np.int64], alike: NDArray[np.float64], last: Mapping[int, int]
) -> list[tuple[int, int]]:
    """CLEAR's pairs of a frame: those of the frame before, as long as they overlap, then the best of the others."""
    gain = np.where(alike >= SAME_IOU, alike, 0.0)
    for row, true in enumerate(true_ids.tolist()):
        for column in np.flatnonzero((ids == last.get(true, -1)) & (gain[row] > 0)).tolist():
            gain[row, column] += len(true_ids) + len(ids)  # more than all others together
    return [(row, column) for row, column in best_pairs(gain) if gain[row, column] > 0]


def best_pairs(weights: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs (row, column) of the assignment with the largest sum of weights (N, M), each row and column at most once.

    The Hungarian method with potentials, O(n^2 m) (Jonker and Volgenant, 1987).
    """
    if not weights.size:
        return []
    if weights.shape[0] > weights.shape[1]:
        return sorted((row, column) for column, row in best_pairs(weights.T))
    rows, columns = weights.shape
    cost = np.zeros((rows + 1, columns + 1))
    cost[1:, 1:] = weights.max() - weights
    row_cost, column_cost = np.zeros(rows + 1), np.zeros(columns + 1)
    owner = np.zeros(columns + 1, np.intp)
    for row in range(1, rows + 1):
        _augment(row, cost, row_cost, column_cost, owner)
    return sorted((int(owner[column]) - 1, column - 1) for column in range(1, columns + 1) if owner[column])


def _augment(
    row: int,
    cost: NDArray[np.float64],
    row_cost: NDArray[np.float64],
    column_cost: NDArray[np.float64],
    owner: NDArray[np.intp],
) -> None:
    """Give a row a column along the cheapest path; column 0 stands for the start. The arrays are changed."""
    columns = cost.shape[1]
    least, before, done = np.full(columns, np.inf), np.zeros(columns, np.intp), np.zeros(columns, bool)
    owner[0], column = row, 0
    while owner[column]:
        done[column] = True
        current = int(owner[column])
        reduced = cost[current] - row_cost[current] - column_cost
        better = ~done & (reduced < least)
        better[0] = False
        least[better], before[better] = reduced[better], column
        open_columns = np.where(done, np.inf, least)
        open_columns[0] = np.inf
        nearest = int(open_columns.argmin())
        step = open_columns[nearest]
        row_cost[owner[done]] += step
        column_cost[done] -= step
        least[~done] -= step
        column = nearest
    while column:
        owner[column] = owner[before[column]]
        column = int(before[column])

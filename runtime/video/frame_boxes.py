"""Boxes of people by frame, from a file beside the video."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...parsing import naming, read_json
from ...pose.coco import PERSON_CATEGORY
from ...pose.crop import check_boxes, corners


class FrameBoxes:
    """Boxes of each frame of a video.

    The file is a list with a list for each frame of [x1, y1, x2, y2] or [x1, y1, x2, y2, score] in px, or COCO
    detections whose `image_id` is the number of the frame, from 0 on. ValueError names the frame that is wrong.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        content = read_json(path)
        with naming(path):
            match content:
                case [{"image_id": _}, *_]:
                    self._rows, self._whole = _by_frame(list(content)), False
                case list() if all(isinstance(frame, list) for frame in content):
                    self._rows, self._whole = dict(enumerate(content)), True
                case _:
                    raise ValueError(
                        "expected for a video a list with the boxes of each frame, or COCO detections whose image_id "
                        "is the frame's number"
                    )

    def __call__(self, frame: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Boxes (N, 4) xyxy in px and scores (N,) of a frame; ValueError if the file ends before it."""
        if self._whole and frame not in self._rows:
            raise ValueError(f"{self._path} has boxes for {len(self._rows)} frames, but the video has frame {frame}")
        rows = self._rows.get(frame, [])
        with naming(self._path):
            if not all(isinstance(row, list) and len(row) in (4, 5) for row in rows):
                raise ValueError(f"frame {frame}: expected rows of x1, y1, x2, y2 and perhaps a score")
            try:
                boxes = check_boxes([row[:4] for row in rows])
                scores = np.array([row[4] if len(row) == 5 else 1.0 for row in rows], np.float64)
            except (TypeError, ValueError) as error:
                raise ValueError(f"frame {frame}: {error}") from error
        return boxes, scores


def _by_frame(detections: list[Any]) -> dict[int, list[list[float]]]:
    """Rows x1, y1, x2, y2, score by frame, of COCO detections of people."""
    rows: dict[int, list[list[float]]] = {}
    for number, entry in enumerate(detections):
        match entry:
            case {"image_id": int(frame), "bbox": [_, _, _, _] as bbox}:
                if entry.get("category_id", PERSON_CATEGORY) == PERSON_CATEGORY:
                    box = corners(np.array([bbox], np.float64))[0]
                    rows.setdefault(frame, []).append([*box.tolist(), entry.get("score", 1.0)])
            case _:
                raise ValueError(f"entry {number} has no whole image_id and bbox of four numbers")
    return rows

"""Which family a detector's file is of: by its metadata, then the names of inputs and outputs, then their shapes."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .description import Description
from .families import FOUR_STRIDES, KINDS, STRIDES

Shape = tuple[int | None, ...]
PERSON = "person"
NANODET_COLUMNS = 32
"""Of four distances in eight bins; those of the classes come before."""
SPARSE_COCO = 91
"""Classes of RF-DETR's COCO files: COCO's own numbers, in which people are 1."""


@dataclass(frozen=True)
class DetectorFile:
    """What stands in a detector's file."""

    inputs: Mapping[str, Shape]
    """None where a side is free."""
    outputs: Mapping[str, Shape]
    metadata: Mapping[str, str]
    operators: Sequence[tuple[str, tuple[str, ...]]]
    """Type and inputs of each node."""

    def __str__(self) -> str:
        def table(shapes: Mapping[str, Shape]) -> str:
            return ", ".join(
                f"{name} ({', '.join('?' if side is None else str(side) for side in shape)})"
                for name, shape in shapes.items()
            )

        keys = f", metadata {', '.join(self.metadata)}" if self.metadata else ""
        return f"inputs {table(self.inputs)}, outputs {table(self.outputs)}{keys}"

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of the images that it takes; None if they are free."""
        shape = next((shape for shape in self.inputs.values() if len(shape) == 4), ())
        sides = shape[1:3] if shape and shape[-1] == 3 else shape[2:]
        height, width = sides or (None, None)
        return None if height is None or width is None else (height, width)


def recognize(seen: DetectorFile) -> Description:
    """The description of a file; ValueError says what was seen if it is of no known family."""
    for rule in (_by_metadata, _by_names, _by_shapes):
        found = rule(seen)
        if found is not None:
            return found
    raise ValueError(
        f"it is a detector of no known family: {seen}; --detector-kind names one of {', '.join(KINDS)}, "
        "or a JSON file beside it describes it"
    )


def fitted(kind: str, seen: DetectorFile) -> Description:
    """The description of a family that the user named, with what the file says of names, strides and classes."""
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(KINDS)}")
    description = KINDS[kind]
    if kind.startswith("ultralytics"):
        return _with_names(description, seen)
    if kind == "rfdetr":
        return _rfdetr(seen)
    if description.decode == "distances":
        return _with_maps(description, seen)
    return (_mmdet_raw(seen) or description) if kind == "mmdet-raw" else description


def _by_metadata(seen: DetectorFile) -> Description | None:
    """Ultralytics' own: names, task, stride, and whether NMS is inside."""
    if not {"names", "stride", "task"} <= set(seen.metadata):
        return None
    task = seen.metadata["task"]
    if task not in ("detect", "pose"):
        raise ValueError(f"its metadata says that its task is {task!r}, expected detect or pose")
    shape = next(iter(seen.outputs.values()))
    inside = len(shape) == 3 and shape[1] is not None and shape[2] is not None and shape[2] < shape[1]
    ended = seen.metadata.get("end2end", "").lower() == "true" or inside
    return _with_names(KINDS["ultralytics-nms" if ended else "ultralytics"], seen)


def _by_names(seen: DetectorFile) -> Description | None:
    inputs, outputs = set(seen.inputs), set(seen.outputs)
    if {"dets", "labels"} <= outputs:
        return _dets_and_labels(seen)
    if inputs == {"input"} and len(outputs) == 2:
        return _mmdet_raw(seen)
    kind = (
        "detr"
        if "orig_target_sizes" in inputs and {"labels", "boxes", "scores"} <= outputs
        else "hf-detr"
        if {"logits", "pred_boxes"} <= outputs
        else "picodet"
        if "scale_factor" in inputs
        else None
    )
    return KINDS[kind] if kind else None


def _dets_and_labels(seen: DetectorFile) -> Description | None:
    """Mmdeploy's outputs, or RF-DETR's of the same names."""
    columns, axes = seen.outputs["dets"][-1], len(seen.outputs["labels"])
    if (columns, axes) == (5, 2):
        return KINDS["mmdet-yolox" if _begins_with_slices(seen) else "mmdet"]
    return _rfdetr(seen) if (columns, axes) == (4, 3) else None


def _by_shapes(seen: DetectorFile) -> Description | None:
    shapes = list(seen.outputs.values())
    if len(shapes) == 2 and {shape[-1] for shape in shapes if shape} == {12, 1}:
        return KINDS["mediapipe"]
    if len(shapes) in (6, 8) and seen.size is not None:
        return _maps(seen)
    if len(shapes) == 1 and len(shapes[0]) in (2, 3):
        rows, columns = shapes[0][-2:]
        kind = _of_table(rows or 0, columns or 0, seen)
        return KINDS[kind] if kind else None
    return None


def _of_table(rows: int, columns: int, seen: DetectorFile) -> str | None:
    """The kind whose only output is a table of these rows and columns."""
    size = seen.size
    if size is not None and rows == _count(size, STRIDES) and columns >= 6:
        return "yolox-decoded" if any(kind == "Exp" for kind, _ in seen.operators) else "yolox"
    if columns == 6:
        return "ultralytics-nms"
    if 5 <= rows < columns:
        return "ultralytics"
    if size is not None and rows == _count(size, FOUR_STRIDES) and columns > NANODET_COLUMNS:
        return "nanodet"
    return None


def _maps(seen: DetectorFile) -> Description | None:
    """NanoDet and PicoDet whose scales are outputs of their own."""
    kind = "nanodet-g" if len(seen.outputs) == 6 else "picodet-raw" if "image" in seen.inputs else "nanodet-maps"
    try:
        return _with_maps(KINDS[kind], seen)
    except ValueError:
        return None


def _with_maps(description: Description, seen: DetectorFile) -> Description:
    """With the names of the outputs of scores and of distances by stride, which their rows and columns tell."""
    if len(seen.outputs) == 1:
        return description
    size, wide, narrow = seen.size, [], []
    if size is None:
        raise ValueError(f"its input has no fixed size: {seen}; the JSON beside it may say it")
    for stride in description.strides:
        rows = _count(size, (stride,))
        names = [name for name, shape in seen.outputs.items() if len(shape) >= 2 and shape[-2] == rows]
        if len(names) != 2:
            raise ValueError(
                f"it has {len(names)} outputs of {rows} rows, those of stride {stride}, expected 2: {seen}"
            )
        widths = [seen.outputs[name][-1] or 0 for name in names]
        first = 0 if widths[0] % 4 == 0 and widths[0] // 4 == description.bins else 1
        if widths[first] != 4 * description.bins:
            raise ValueError(f"none of the outputs {', '.join(names)} has 4 x {description.bins} columns: {seen}")
        wide.append(names[first])
        narrow.append(names[1 - first])
    return replace(description, box_outputs=tuple(wide), score_outputs=tuple(narrow))


def _rfdetr(seen: DetectorFile) -> Description:
    """COCO files count people as 1, among 91; files trained by users as 0, with the background last."""
    classes = seen.outputs.get("labels", (0,))[-1]
    first = "keypoints" in seen.outputs  # the background comes first
    return replace(KINDS["rfdetr"], person_class=1 if classes == SPARSE_COCO or first else 0)


def _mmdet_raw(seen: DetectorFile) -> Description | None:
    names = list(seen.outputs)
    boxes = [name for name in names if len(seen.outputs[name]) == 3 and seen.outputs[name][-1] == 4]
    others = [name for name in names if name not in boxes]
    if len(boxes) != 1 or len(others) != 1:
        return None
    preset = KINDS["mmdet-raw"]
    plain = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)} if _begins_with_slices(seen) else {}
    return replace(preset, box_outputs=(boxes[0],), score_outputs=(others[0],), **plain)


def _with_names(description: Description, seen: DetectorFile) -> Description:
    """The person's class by the names in Ultralytics' metadata; ValueError if nobody is called a person."""
    names = _parsed(seen.metadata.get("names", ""))
    joints = _parsed(seen.metadata.get("kpt_shape", ""))
    if not isinstance(names, dict):
        return replace(description, classes=1) if isinstance(joints, list | tuple) else description
    found = [number for number, name in names.items() if str(name).lower() == PERSON]
    if not found or not isinstance(found[0], int):
        shown = ", ".join(map(str, list(names.values())[:5]))
        raise ValueError(f"none of its {len(names)} classes is a person: {shown}{', ...' if len(names) > 5 else ''}")
    return replace(description, person_class=found[0], classes=len(names))


def _parsed(text: str) -> Any:
    """The Python literal that Ultralytics writes; None for anything else."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _begins_with_slices(seen: DetectorFile) -> bool:
    """Whether the image goes into slices first: YOLOX's Focus, which takes pixels from 0 to 255 as they are."""
    first = next(iter(seen.inputs), "")
    return any(kind == "Slice" and first in names for kind, names in seen.operators)


def _count(size: tuple[int, int], strides: Sequence[int]) -> int:
    """Number of cells of all strides."""
    return sum(-(-size[0] // stride) * -(-size[1] // stride) for stride in strides)

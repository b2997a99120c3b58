"""A person detector in an ONNX file: images in, boxes of people out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...parsing import naming, parse, read_json
from ...pose.crop import Image, check_image
from ...pose.overlap import nms
from ..inputs import check_threads
from .decoding import decode
from .description import Description
from .families import KINDS
from .picture import Letterbox, network_input
from .recognizing import DetectorFile, fitted, recognize

if TYPE_CHECKING:
    import onnxruntime

AUTO = "auto"
FREE_SIZE = (640, 640)
"""(height, width) for a file that takes any size."""
LARGEST_FILE = 2 << 30  # bytes: ONNX's own limit


@dataclass(frozen=True)
class DetectorOptions:
    """Which of a detector's boxes are people worth looking at."""

    min_score: float = 0.3
    nms_iou: float | None = None
    """IoU above which the lower box is dropped; None: that of the family."""
    person_class: int | None = None
    """None: that of the file or the family."""
    max_people: int = 16
    min_size: float = 8.0
    """Smallest side of a box in px of the image."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"the lowest score is {self.min_score}, expected 0 to 1")
        if self.nms_iou is not None and not 0 < self.nms_iou <= 1:
            raise ValueError(f"the IoU of duplicates is {self.nms_iou}, expected a number above 0, up to 1")
        if self.max_people < 1 or self.min_size < 0:
            raise ValueError(
                f"the largest number of people is {self.max_people} and the smallest size {self.min_size}, "
                "expected at least 1 and 0"
            )


class PersonDetector:
    """Runs a detector in ONNX Runtime. One thread at a time."""

    def __init__(
        self, path: Path, session: "onnxruntime.InferenceSession", description: Description, options: DetectorOptions
    ) -> None:
        self.path, self.description, self.options = path, description, options
        self._session = session
        self._inputs = {node.name: node.shape for node in session.get_inputs()}
        self._outputs = [node.name for node in session.get_outputs()]
        assert description.size is not None
        self._size = description.size

    @classmethod
    def open(
        cls,
        path: str | Path,
        kind: str = AUTO,
        options: DetectorOptions | None = None,
        *,
        device: str = "auto",
        threads: int | None = None,
    ) -> "PersonDetector":
        """Open an ONNX file of one of KINDS; "auto" finds out which, or reads the JSON beside it (FILE.json).

        Raises:
            FileNotFoundError: the file is missing.
            ValueError: it is no ONNX file, of no known family, or knows no people; the message says what was seen.
        """
        from ..backends.onnx_files import operators_of, reads_other_files
        from ..backends.onnxruntime import choose_gpu, open_graph

        path, options = Path(path), options or DetectorOptions()
        if not path.is_file():
            raise FileNotFoundError(f"no detector at {path}")
        check_threads(threads)
        content = _read(path)
        with naming(path):
            if reads_other_files(content):
                raise ValueError("it keeps tensors in other files; onnx.save(onnx.load(FILE), NEW) puts them inside")
        session = open_graph(path, choose_gpu(device), threads, content=content)
        with naming(path):
            seen = _seen(path, session, operators_of(content))
            description = _described(path, kind, seen)
            if options.person_class is not None:
                description = replace(description, person_class=options.person_class)
            if options.nms_iou is not None:
                description = replace(description, nms_iou=options.nms_iou)
            detector = cls(path, session, description, options)
            detector(np.zeros((64, 64, 3), np.uint8))  # a wrong shape or class is said now
        return detector

    def __call__(self, image: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Boxes (N, 4) xyxy in px of a BGR image (H, W, 3) of uint8, and scores (N,), best first."""
        from ..backends.onnxruntime import run_graph

        check_image(image)
        pixels, placed = network_input(image, self.description, self._size)
        found = run_graph(self._session, self.path, self._outputs, _feeds(self._inputs, pixels, image))
        boxes, scores = decode(dict(zip(self._outputs, found, strict=True)), self.description, self._size)
        return self._people(boxes, scores, placed, image)

    def _people(
        self, boxes: NDArray[np.float64], scores: NDArray[np.float64], placed: Letterbox, image: Image
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The boxes that are people by the options, in px of the image and within it."""
        sure = (scores >= self.options.min_score) & np.isfinite(boxes).all(1)
        boxes, scores = boxes[sure], scores[sure]
        height, width = image.shape[:2]
        if self.description.unit == "share":
            boxes = boxes * np.tile(self._size[::-1], 2)
        if self.description.unit != "frame":
            boxes = placed.to_image(boxes)
        boxes = boxes.clip(0, np.tile((width, height), 2))
        large = ((boxes[:, 2:] - boxes[:, :2]) >= max(self.options.min_size, 1e-3)).all(1)
        boxes, scores = boxes[large], scores[large]
        if self.description.nms_iou is None:
            order = np.argsort(-scores, kind="stable")
        else:
            order = nms(boxes, scores, self.description.nms_iou)
        kept = order[: self.options.max_people]
        return boxes[kept], scores[kept]


def _read(path: Path) -> bytes:
    size = path.stat().st_size
    if not 0 < size <= LARGEST_FILE:
        raise ValueError(f"{path} has {size} bytes, expected an ONNX file of at most {LARGEST_FILE}")
    return path.read_bytes()


def _feeds(inputs: Mapping[str, Sequence[Any]], pixels: NDArray[np.float32], image: Image) -> dict[str, Any]:
    """The network's input (1, 3, H, W), and the sizes that some families want beside it, by the inputs' shapes."""
    feeds: dict[str, Any] = {}
    (height, width), (tall, wide) = image.shape[:2], pixels.shape[2:]
    for name, shape in inputs.items():
        if len(shape) == 4:
            feeds[name] = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)) if shape[-1] == 3 else pixels
        elif name == "orig_target_sizes":
            feeds[name] = np.array([[width, height]], np.int64)
        elif name == "scale_factor":
            feeds[name] = np.array([[tall / height, wide / width]], np.float32)
        elif name == "im_shape":
            feeds[name] = np.array([[tall, wide]], np.float32)
        else:
            raise ValueError(f"it wants an input {name!r}, which no known family has")
    return feeds


def _seen(
    path: Path, session: "onnxruntime.InferenceSession", operators: list[tuple[str, tuple[str, ...]]]
) -> DetectorFile:
    """What stands in a file; the shapes of the outputs are those of a run, since a file may leave them open."""
    from ..backends.onnxruntime import run_graph

    inputs = {
        node.name: tuple(side if isinstance(side, int) else None for side in node.shape)
        for node in session.get_inputs()
    }
    outputs = {node.name: () for node in session.get_outputs()}
    seen = DetectorFile(inputs, outputs, session.get_modelmeta().custom_metadata_map, operators)
    if not any(len(shape) == 4 for shape in inputs.values()):
        raise ValueError(f"none of its inputs is an image of 4 axes: {seen}")
    blank = np.zeros((1, 3, *(seen.size or FREE_SIZE)), np.float32)
    found = run_graph(session, path, list(outputs), _feeds(inputs, blank, np.zeros((64, 64, 3), np.uint8)))
    return replace(seen, outputs={name: array.shape for name, array in zip(outputs, found, strict=True)})


def _described(path: Path, kind: str, seen: DetectorFile) -> Description:
    """By the JSON beside the file, by the kind that was named, or by what the file shows."""
    beside = next((each for each in (path.with_suffix(".json"), Path(f"{path}.json")) if each.is_file()), None)
    if kind == AUTO and beside is not None:
        with naming(beside):
            description = _of_json(read_json(beside), seen)
    else:
        description = recognize(seen) if kind == AUTO else fitted(kind, seen)
    size = description.size or seen.size
    if size is not None and seen.size is not None and size != seen.size:
        raise ValueError(f"it takes images of {seen.size} px (height, width), and {size} was said")
    return replace(description, size=size or FREE_SIZE)


def _of_json(facts: Any, seen: DetectorFile) -> Description:
    """A description's fields as JSON; "kind", one of KINDS, gives those that are left out."""
    if not isinstance(facts, dict) or facts.get("kind") not in KINDS:
        raise ValueError(f"kind is missing or unknown, expected one of {', '.join(KINDS)}, and what differs from it")
    known = set(Description.__dataclass_fields__)
    strange = [key for key in facts if key not in known]
    if strange:
        raise ValueError(f"{strange[0]!r} is not known, expected some of {', '.join(sorted(known))}")
    named = {key: value for key, value in facts.items() if key != "kind"}
    preset = KINDS[facts["kind"]]
    start = (
        preset
        if {"box_outputs", "score_outputs", "strides", "bins", "classes"} & set(named)
        else fitted(facts["kind"], seen)
    )
    return parse(Description, {**vars(start), **named})

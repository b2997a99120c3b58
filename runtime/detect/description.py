"""What a detector's file expects and what its outputs mean: the value of a family, or of a JSON beside the file."""

from dataclasses import dataclass
from typing import Literal

Decode = Literal["table", "grid", "distances", "mediapipe"]
"""table: boxes are written out. grid: YOLOX's raw cells. distances: NanoDet's and PicoDet's distributions.
mediapipe: offsets from SSD anchors, a person by two points."""
Resize = Literal["letterbox_topleft", "letterbox_centre", "stretch"]
Columns = Literal["box,scores", "box,objectness,scores", "box,score,class", "class,score,box"]
Prior = Literal["corner", "pixel", "middle"]
"""Where a cell's prior lies: index * stride, that plus (stride - 1) / 2, or (index + 0.5) * stride."""


@dataclass(frozen=True)
class Description:
    """Input and outputs of a detector. A pixel's value becomes (value * scale - mean) / std."""

    kind: str
    decode: Decode
    colour: Literal["bgr", "rgb"] = "rgb"
    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """In the order of `colour`."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """In the order of `colour`."""
    resize: Resize = "stretch"
    pad: float = 114.0
    """Grey level round a letterbox."""
    size: tuple[int, int] | None = None
    """(height, width) px; None: as the file says."""
    boxes: Literal["xyxy", "cxcywh"] = "xyxy"
    unit: Literal["px", "share", "frame"] = "px"
    """Of boxes: px of the network's input, shares of its sides, or px of the frame."""
    scores: Literal["sigmoid", "logit"] = "sigmoid"
    columns: Columns = "box,scores"
    """Of a table in one tensor."""
    channels_first: bool = False
    """The table is (columns, rows)."""
    box_outputs: tuple[str, ...] = ()
    """Outputs with boxes or distances; () with `score_outputs` (): the first output is the whole table."""
    score_outputs: tuple[str, ...] = ()
    label_output: str | None = None
    """Output with the class of each row; then its scores are (rows,)."""
    strides: tuple[int, ...] = ()
    """Px of the cells of a grid, in the order of the outputs."""
    bins: int = 8
    """Of each distance's distribution."""
    prior: Prior = "middle"
    classes: int | None = None
    """Number of classes, where the file does not show it."""
    person_class: int = 0
    """Counted from 0; -1 where there are no classes."""
    nms_iou: float | None = None
    """IoU above which the lower box is dropped; None: the file did that, or its boxes have no duplicates."""

    def __post_init__(self) -> None:
        if self.size is not None and not all(8 <= side <= 4096 for side in self.size):
            raise ValueError(f"size is {self.size}, expected (height, width) from 8 to 4096 px")
        if not all(value > 0 for value in (self.scale, *self.std)):
            raise ValueError(f"scale is {self.scale} and std {self.std}, expected numbers above 0")
        if self.decode in ("grid", "distances") and not (self.strides and min(self.strides) >= 1):
            raise ValueError(f"strides are {self.strides}, expected the cells' sides in px, such as 8, 16, 32")
        if not 2 <= self.bins <= 64:
            raise ValueError(f"bins is {self.bins}, expected 2 to 64")
        if self.nms_iou is not None and not 0 < self.nms_iou <= 1:
            raise ValueError(f"nms_iou is {self.nms_iou}, expected a number above 0, up to 1")

    def summary(self) -> str:
        """The choices in one line, to be read by people."""
        height, width = self.size or (0, 0)
        nms = "no NMS" if self.nms_iou is None else f"NMS at {self.nms_iou:g}"
        return (
            f"{self.kind}: {width}x{height}, {self.colour.upper()}, {self.resize.replace('_', ' ')}, person is class "
            f"{self.person_class}, {nms}"
        )

"""Detectors made by hand, in each layout: they find the pixels of one colour and write the box round them.

A graph knows the colour as the family's preprocessing makes it, so that a wrong colour order, mean or scale finds
nobody, and a wrong resize or decoding finds somebody elsewhere.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lehrnet.runtime.detect import Description

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
PERSON_BGR = (200, 40, 120)
TOLERANCE = 20  # grey levels: less than between the person and the background
SCORE = 0.9
NOTHING = -9.0  # logit of a row without anybody


class Graph:
    """An ONNX graph that grows by one operator at a time; names of tensors are its values."""

    def __init__(self, description: Description, size: tuple[int, int], image: str = "images", last: bool = False):
        self.nodes, self.constants, self.outputs = [], [], []
        self.size, self.image = size, image
        shape = [1, *size, 3] if last else [1, 3, *size]
        self.inputs = [helper.make_tensor_value_info(image, FLOAT, shape)]
        pixels = self.op("Transpose", image, perm=[0, 3, 1, 2]) if last else image
        self._find(pixels, description)

    def constant(self, value, kind: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, kind), name))
        return name

    def op(self, kind: str, *inputs: str, **attributes) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def times(self, value: str, factor: float) -> str:
        return self.op("Mul", value, self.constant([factor]))

    def plus(self, value: str, term: float) -> str:
        return self.op("Add", value, self.constant([term]))

    def _find(self, pixels: str, description: Description) -> None:
        """Corners and score, each of shape (1,), of the pixels that have the person's colour."""
        colour = np.array(PERSON_BGR if description.colour == "bgr" else PERSON_BGR[::-1], np.float64)
        std = np.array(description.std)
        wanted = (colour * description.scale - description.mean) / std
        near = self.constant((TOLERANCE * description.scale / std).reshape(1, 3, 1, 1))
        away = self.op("Div", self.op("Abs", self.op("Sub", pixels, self.constant(wanted.reshape(1, 3, 1, 1)))), near)
        far = self.op("ReduceMax", away, axes=[0, 1], keepdims=0)
        mask = self.op("Less", far, self.constant(1.0))
        shown = self.op("Cast", mask, to=FLOAT)
        self.corners = []
        for axis, side in ((0, self.size[1]), (1, self.size[0])):
            line = self.op("Greater", self.op("ReduceMax", shown, axes=[axis], keepdims=0), self.constant(0.5))
            low = self.op("Where", line, self.constant(np.arange(side)), self.constant(1e6))
            high = self.op("Where", line, self.constant(np.arange(side) + 1), self.constant(-1e6))
            self.corners.append(
                (
                    self.op("ReduceMin", low, axes=[0], keepdims=1),
                    self.op("ReduceMax", high, axes=[0], keepdims=1),
                )
            )
        self.score = self.times(self.op("ReduceMax", shown, axes=[0, 1], keepdims=0), SCORE)
        self.score = self.op("Reshape", self.score, self.constant([1], np.int64))

    def xyxy(self, factors: Sequence[float] = (1, 1)) -> list[str]:
        (x1, x2), (y1, y2) = self.corners
        return [self.times(side, factors[place % 2]) for place, side in enumerate((x1, y1, x2, y2))]

    def cxcywh(self, factors: Sequence[float] = (1, 1)) -> list[str]:
        found = []
        for factor, (low, high) in zip(factors, self.corners, strict=True):
            found.append(
                (self.times(self.op("Add", low, high), factor / 2), self.times(self.op("Sub", high, low), factor))
            )
        (x, wide), (y, tall) = found
        return [x, y, wide, tall]

    def logit(self) -> str:
        """4 where somebody was found, and -5 elsewhere."""
        return self.plus(self.times(self.score, 10), -5)

    def row(self, *values: str | float) -> str:
        """A table (1, 1, n) of one row."""
        parts = [value if isinstance(value, str) else self.constant([value]) for value in values]
        return self.op("Reshape", self.op("Concat", *parts, axis=0), self.constant([1, 1, len(parts)], np.int64))

    def among(self, row: str, count: int, place: int, fill: float = 0.0) -> str:
        """The row as one of `count` rows."""
        pads = self.constant([0, place, 0, 0, count - place - 1, 0], np.int64)
        return self.op("Pad", row, pads, self.constant(fill))

    def squeezed(self, value: str, axis: int) -> str:
        return self.op("Squeeze", value, self.constant([axis], np.int64))

    def give(self, name: str, value: str, shape: Sequence[int | str], kind: int = FLOAT) -> None:
        self.nodes.append(helper.make_node("Cast", [value], [name], to=kind))
        self.outputs.append(helper.make_tensor_value_info(name, kind, list(shape)))

    def also(self, name: str, kind: int) -> str:
        """A second input (1, 2); returned as floats of shape (2,)."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, [1, 2]))
        return self.squeezed(self.op("Cast", name, to=FLOAT), 0)

    def save(self, path: Path, metadata: dict[str, str] | None = None) -> Path:
        graph = helper.make_graph(self.nodes, "detector", self.inputs, self.outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, metadata or {})
        onnx.checker.check_model(model)
        onnx.save(model, str(path))
        return path

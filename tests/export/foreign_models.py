"""Small ONNX files, as other programs write them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def pose_model(
    joints: int = 17,
    *,
    batch: int | str = 1,
    size: tuple[int | str, int | str] = (64, 32),
    strides: tuple[int, int] = (2, 2),
    weight: float = 0.2,
    opset: int = 13,
    more: Sequence[Any] = (),
    outputs: Sequence[str] = ("maps",),
) -> Any:
    """Two convs with a residual one between, from `image` to `maps`; nodes have no names."""
    rng = np.random.default_rng(0)

    def kernel(name: str, *shape: int) -> Any:
        return numpy_helper.from_array((weight * rng.standard_normal(shape)).astype(np.float32), name)

    def conv(source: str, kernel: str, target: str, stride: int) -> Any:
        pads = [1, 1, 1, 1]
        return helper.make_node(
            "Conv", [source, kernel], [target], kernel_shape=[3, 3], strides=[stride] * 2, pads=pads
        )

    nodes = [
        conv("image", "w1", "a", strides[0]),
        helper.make_node("Relu", ["a"], ["b"]),
        conv("b", "w2", "c", 1),
        helper.make_node("Add", ["c", "b"], ["d"]),
        helper.make_node("Relu", ["d"], ["e"]),
        conv("e", "w3", "maps", strides[1]),
        *more,
    ]
    image = helper.make_tensor_value_info("image", FLOAT, [batch, 3, *size])
    found = [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs]
    weights = [kernel("w1", 8, 3, 3, 3), kernel("w2", 8, 8, 3, 3), kernel("w3", joints, 8, 3, 3)]
    graph = helper.make_graph(nodes, "pose", [image], found, weights)
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    )


def saved(model: Any, path: Path) -> Path:
    onnx.save(model, str(path))
    return path

"""Graphs for a browser: from a canvas' pixels and boxes to keypoints, with weights in FP32 and in FP16.

They are `whole` (module `whole`) with another crop: it takes RGBA as a canvas gives it, and looks up only the pixels
that it samples, so that a large photograph is never converted to floats.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import onnx
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor

from ..pose.crop import corners, crop_people, transform_points
from ..pose.points import crop_points
from ..pose.synthetic import draw_scene
from ..runtime.backends.onnxruntime import open_graph, run_graph
from ..runtime.bundle import WEB, Bundle
from ..runtime.session import open_artefact
from ..web.site import write_site
from .whole import BOXES, FRAME, KEYPOINTS, TOLERANCE_PX, Crop, join_whole, trace_crop, trace_decode

SOURCE = "fp32"  # the bundle's artefact that both are made of
WEB_PRECISIONS = ("fp32", "fp16")
"""Of the weights: arithmetic is in FP32, which is what WebAssembly has."""
LARGEST_FP16 = 65504.0
SMALLEST_HALVED = 64  # numbers; a scalar's Cast would cost more than it saves


class CanvasCrop(Crop):
    """Crop an RGBA frame (H, W, 4) of uint8 at boxes (N, 4) xyxy in image px; alpha is left out.

    Returns what `Crop` does. Each sample looks up its four pixels: the cost is the crop's, not the frame's.
    """

    def forward(self, frame: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scale, shift = self.to_image(boxes)
        across = self._beside(scale[:, :1] * self.get_buffer("columns") + shift[:, :1], frame.shape[1])
        down = self._beside(scale[:, 1:] * self.get_buffer("rows") + shift[:, 1:], frame.shape[0])
        pixels = frame.reshape(-1, 4)
        crops = torch.zeros(())
        for row, row_share in down:
            for column, column_share in across:
                places = row[:, :, None] * frame.shape[1] + column[:, None, :]  # (N, h, w)
                colours = pixels[places.reshape(-1)][:, :3].float().reshape(-1, self.height, self.width, 3)
                crops = crops + colours * (row_share[:, :, None] * column_share[:, None, :])[..., None]
        return crops.permute(0, 3, 1, 2) * self.get_buffer("gain") + self.get_buffer("offset"), scale, shift

    @staticmethod
    def _beside(position: Tensor, size: Tensor | int) -> list[tuple[Tensor, Tensor]]:
        """The two pixels of an axis beside each sample (N, n), and their shares; a pixel outside has none."""
        before = position.floor()
        share = position - before
        found = []
        for pixel, weight in ((before, 1 - share), (before + 1, share)):
            inside = ((pixel >= 0) & (pixel < size)).float()
            found.append((pixel.clamp(min=0).minimum(torch.as_tensor(size - 1).float()).long(), weight * inside))
        return found


def write_page(bundle: Bundle, runtime: Path) -> None:
    """Write a bundle's folder `web`, with graphs that are checked against the ordinary pipeline.

    `runtime` is the folder of the npm package onnxruntime-web. ValueError for a network that takes no single person.
    """
    smallest, largest = bundle.artefacts[SOURCE].batch
    if smallest > 1:
        raise ValueError(
            f"the page runs one person at a time, but this graph takes batches of {largest}: export it with a batch of "
            "1 or of any size"
        )
    folder = bundle.root / WEB
    folder.mkdir()
    graphs = write_web_graphs(bundle, folder)
    write_site(bundle, graphs, check_web_graphs(bundle, graphs), runtime)


def write_web_graphs(bundle: Bundle, folder: Path) -> dict[str, Path]:
    """Write `fp32.onnx` and `fp16.onnx` into a folder, and return their paths.

    Their inputs are `frame` (H, W, 4), RGBA of uint8, and `boxes` (N, 4); the output is `keypoints` (N, K, 3) in px.
    """
    network = onnx.load(str(bundle.path(SOURCE)))
    with TemporaryDirectory() as scratch:
        crop = trace_crop(CanvasCrop(bundle.spec), torch.zeros(96, 128, 4, dtype=torch.uint8), Path(scratch))
        decode = trace_decode(bundle.spec, Path(scratch))
    written = {}
    for precision in WEB_PRECISIONS:
        stored = network if precision == "fp32" else halved(network)
        whole = join_whole(crop, stored, decode, bundle.names)
        onnx.checker.check_model(whole, full_check=True)
        written[precision] = folder / f"{precision}.onnx"
        onnx.save(whole, str(written[precision]))
    return written


def halved(network: ModelProto) -> ModelProto:
    """The graph with its weights stored in FP16; each is cast to FP32 once, when the graph is opened.

    Weights that FP16 cannot hold, and small ones, stay as they are.
    """
    model = ModelProto.FromString(network.SerializeToString())
    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight) if weight.data_type == TensorProto.FLOAT else np.empty(0)
        if values.size < SMALLEST_HALVED or np.abs(values).max() > LARGEST_FP16:
            continue
        name, stored = weight.name, f"{weight.name}_fp16"
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [name], f"{name}_cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def check_web_graphs(bundle: Bundle, graphs: dict[str, Path], seed: int = 0) -> dict[str, dict[str, float]]:
    """Distances in px, of each graph, from the ordinary pipeline on a drawn scene: `median_px` and `max_px`.

    RuntimeError if the median of FP32 exceeds 0.01 px.
    """
    frame, people = draw_scene(np.random.default_rng(seed))
    boxes = corners(np.array([person["bbox"] for person in people], np.float64))
    crops, affines = crop_people(frame, boxes, bundle.spec)
    expected = crop_points(open_artefact(bundle, SOURCE, "cpu").run(crops), bundle.spec)
    in_image = transform_points(expected[..., :2], affines)
    inputs = {FRAME: cv2.cvtColor(frame, cv2.COLOR_BGR2RGBA), BOXES: boxes.astype(np.float32)}
    found = {}
    for precision, path in graphs.items():
        (points,) = run_graph(open_graph(path), path, [KEYPOINTS], inputs)
        distances = np.linalg.norm(points[..., :2] - in_image, axis=2)
        found[precision] = {"median_px": float(np.median(distances)), "max_px": float(distances.max())}
    if found["fp32"]["median_px"] > TOLERANCE_PX:
        raise RuntimeError(f"the browser's graph differs from the ordinary pipeline: {found['fp32']} px")
    return found

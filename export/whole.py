"""Graphs that need no lehrnet runtime: from a frame and boxes to keypoints ("whole"), and from crops to keypoints.

Crop and decode are traced once and joined to the network of each precision. Both follow the definitions in
`lehrnet.pose`: edges meet edges, exact bilinear sampling, black outside the image.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from onnx import ModelProto, compose
from torch import Tensor, nn
from torch.nn import functional as F

from ..pose.crop import corners, crop_people, transform_points
from ..pose.frame import cell_line, crop_line
from ..pose.heatmap import LOG_FLOOR, LONGEST_STEP, SMOOTHING_RADIUS, SMOOTHING_SIGMA
from ..pose.points import crop_points
from ..pose.spec import PoseSpec
from ..pose.synthetic import draw_scene
from ..runtime.backends.onnxruntime import open_graph, run_graph
from ..runtime.bundle import INPUT_NAME, OUTPUT_NAME, Bundle, Output
from ..runtime.session import open_artefact
from .graph import trace

WHOLE, POINTS = "whole", "points"  # prefixes of the two graphs' names
FRAME, BOXES, KEYPOINTS = "frame", "boxes", "keypoints"
PEOPLE = {0: "batch"}  # their axis, of any length
TOLERANCE_PX = 0.01
JOINABLE = ("fp32", "fp16", "int8")
"""Precisions that are joined. BF16 needs another opset; on a CPU (int8_cpu) OpenCV crops faster than the graph."""


class Crop(nn.Module):
    """Crop a BGR frame (H, W, 3) of uint8 at boxes (N, 4) xyxy in image px.

    Returns normalized RGB crops (N, 3, h, w), and the scale (N, 2) and shift (N, 2) from crop px to image px. One
    GridSample over a grid of height N * h serves all people, so that the frame is not copied for each.
    """

    def __init__(self, spec: PoseSpec) -> None:
        super().__init__()
        self.padding, (self.height, self.width), self.line = spec.padding, spec.input_size, crop_line(spec)
        self.register_buffer("rows", torch.arange(self.height, dtype=torch.float32))
        self.register_buffer("columns", torch.arange(self.width, dtype=torch.float32))
        self.register_buffer("gain", 1 / (255 * torch.tensor(spec.std)).reshape(3, 1, 1))
        self.register_buffer("offset", (-torch.tensor(spec.mean) / torch.tensor(spec.std)).reshape(3, 1, 1))

    def forward(self, frame: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        image = frame.float().permute(2, 0, 1).flip(0)[None]  # cast first: TensorRT cannot transpose uint8
        scale, shift = self.to_image(boxes)
        across = self._normalized(scale[:, :1] * self.get_buffer("columns") + shift[:, :1], image.shape[3])  # (N, w)
        down = self._normalized(scale[:, 1:] * self.get_buffer("rows") + shift[:, 1:], image.shape[2])  # (N, h)
        across = across[:, None, :].expand(-1, self.height, -1)
        grid = torch.stack((across, down[:, :, None].expand_as(across)), 3).reshape(1, -1, self.width, 2)
        sampled = F.grid_sample(image, grid, align_corners=False)  # bilinear, zeros outside
        crops = sampled.reshape(3, -1, self.height, self.width).transpose(0, 1)
        return crops * self.get_buffer("gain") + self.get_buffer("offset"), scale, shift

    def to_image(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """The scale (N, 2) and shift (N, 2) from crop px to image px."""
        sides = boxes[:, 2:] - boxes[:, :2]
        longest = torch.maximum(sides[:, :1] / self.width, sides[:, 1:] / self.height)
        scale = self.padding * longest * torch.tensor(self.line.stretch)
        shift = (boxes[:, :2] + boxes[:, 2:]) / 2 - scale * torch.tensor(self.line.middle) + self.line.shift
        return scale, shift

    @staticmethod
    def _normalized(pixels: Tensor, size: Tensor | int) -> Tensor:
        """Pixel indices in GridSample's coordinates, where -1 and 1 are the image's edges."""
        return (2 * pixels + 1) / size - 1


class Decode(nn.Module):
    """Heatmaps (N, K, h, w) to keypoints (N, K, 3): x, y in crop px and the score, as `pose.heatmap.decode`."""

    def __init__(self, spec: PoseSpec) -> None:
        super().__init__()
        self.method, self.frame, self.line = spec.decode, spec.frame, cell_line(spec)
        self.grid = spec.grid
        self.maps = (len(spec.skeleton), self.grid[0] * self.grid[1])
        steps = torch.arange(-SMOOTHING_RADIUS, SMOOTHING_RADIUS + 1)
        kernel = torch.exp(-(steps**2) / (2 * SMOOTHING_SIGMA**2))
        self.register_buffer("kernel", kernel / kernel.sum())

    def forward(self, heatmaps: Tensor) -> Tensor:
        _, width = self.grid
        flat = heatmaps.reshape(-1, *self.maps)  # constant sizes, so that N may be 0
        peak = flat.argmax(2, keepdim=True)  # (N, K, 1)
        score = flat.gather(2, peak)
        row, column = peak // width, peak % width
        if self.method == "quarter":
            offset = self._quarter(flat, row, column)
        else:
            offset = self._newton(self._smoothed(heatmaps).reshape(-1, *self.maps), row, column)
        cells = torch.cat((column, row), 2).float() + offset
        return torch.cat((cells * torch.tensor(self.line.factor) + self.line.offset, score), 2)

    def _at(self, flat: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Values (N, K, P) at rows and columns (N, K, P), which are clamped to the border."""
        height, width = self.grid
        return flat.gather(2, row.clamp(0, height - 1) * width + column.clamp(0, width - 1))

    def _quarter(self, flat: Tensor, row: Tensor, column: Tensor) -> Tensor:
        height, width = self.grid
        across = self._at(flat, row, column + 1) - self._at(flat, row, column - 1)
        down = self._at(flat, row + 1, column) - self._at(flat, row - 1, column)
        first = 1 if self.frame == "hrnet" else 0  # below it, and in the last one, there is no offset
        inside_x, inside_y = (column > first) & (column < width - 1), (row > first) & (row < height - 1)
        if self.frame == "hrnet":
            inside_x = inside_y = inside_x & inside_y
        return 0.25 * torch.cat((across.sign() * inside_x, down.sign() * inside_y), 2)

    def _smoothed(self, heatmaps: Tensor) -> Tensor:
        height, width = self.grid
        kernel = self.get_buffer("kernel")
        maps = heatmaps.reshape(-1, 1, height, width)
        maps = F.conv2d(maps, kernel[None, None, :, None], padding=(SMOOTHING_RADIUS, 0))
        maps = F.conv2d(maps, kernel[None, None, None, :], padding=(0, SMOOTHING_RADIUS))
        return maps.reshape(-1, self.maps[0], height, width)

    def _newton(self, flat: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Offset (N, K, 2), in cells, from the peak to the maximum of a parabola fitted to the log heatmap there."""
        height, width = self.grid
        reach = 2 if self.method == "dark" else 1
        peak = self._at(flat, row, column)

        def log(down: int, across: int) -> Tensor:
            value = self._at(flat, row + down, column + across)
            return torch.maximum(value, LOG_FLOOR * peak).clamp(min=1e-30).log()

        middle, slope_x, slope_y = log(0, 0), (log(0, 1) - log(0, -1)) / 2, (log(1, 0) - log(-1, 0)) / 2
        xx = (log(0, reach) - 2 * middle + log(0, -reach)) / reach**2
        yy = (log(reach, 0) - 2 * middle + log(-reach, 0)) / reach**2
        if self.method == "dark":
            xy = (log(1, 1) - log(-1, 1) - log(1, -1) + log(-1, -1)) / 4
            inside = (row >= reach) & (row < height - reach) & (column >= reach) & (column < width - reach)
        else:
            axes = log(0, 1) + log(1, 0) + log(0, -1) + log(-1, 0)
            xy = (log(1, 1) - axes + 2 * middle + log(-1, -1)) / 2
            inside = peak > 0
        determinant = xx * yy - xy**2
        top = inside & (peak > 0) & (xx < 0) & (determinant > 0)
        determinant = torch.where(top, determinant, torch.ones_like(determinant))
        step = torch.cat(((xy * slope_y - yy * slope_x), (xy * slope_x - xx * slope_y)), 2) / determinant
        step = torch.where(top, step, torch.zeros_like(step))
        return step.clamp(-LONGEST_STEP, LONGEST_STEP)


class ToImage(nn.Module):
    """Map keypoints (N, K, 3) from crop px to image px."""

    def forward(self, points: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return torch.cat((points[..., :2] * scale[:, None] + shift[:, None], points[..., 2:]), 2)


class _DecodeToImage(nn.Module):
    def __init__(self, spec: PoseSpec) -> None:
        super().__init__()
        self.decode, self.to_image = Decode(spec), ToImage()

    def forward(self, heatmaps: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return self.to_image(self.decode(heatmaps), scale, shift)


def write_whole(bundle: Bundle) -> dict[str, dict[Output, Path]]:
    """Write `whole_P.onnx` and `points_P.onnx` for each precision P of a bundle; paths by precision and output."""
    with TemporaryDirectory() as folder:
        front, back, plain = _ends(bundle.spec, Path(folder))
    written: dict[str, dict[Output, Path]] = {}
    for precision in (name for name in JOINABLE if name in bundle.artefacts):
        network = onnx.load(str(bundle.path(precision)))
        points = joined(network, plain, {OUTPUT_NAME: OUTPUT_NAME})
        whole = join_whole(front, network, back, (INPUT_NAME, OUTPUT_NAME))
        written[precision] = {
            "whole": bundle.root / f"{WHOLE}_{precision}.onnx",
            "keypoints": bundle.root / f"{POINTS}_{precision}.onnx",
        }
        for path, model in zip(written[precision].values(), (whole, points), strict=True):
            onnx.checker.check_model(model, full_check=True)
            onnx.save(model, str(path))
    return written


def check_whole(bundle: Bundle, precision: str, graphs: Mapping[Output, Path], seed: int = 0) -> dict[str, float]:
    """Distances in px between the two graphs of a precision and the ordinary pipeline, on a drawn scene.

    `points`: the largest distance on the same crops, at most 0.01 px. `whole`: the median distance from the frame on,
    at most 0.01 px for FP32; not limited for the others, since rounding amplifies tiny differences of the crops.
    RuntimeError if a limit is exceeded.
    """
    frame, people = draw_scene(np.random.default_rng(seed))
    boxes = corners(np.array([person["bbox"] for person in people], np.float64))
    crops, affines = crop_people(frame, boxes, bundle.spec)
    expected = crop_points(open_artefact(bundle, precision, "cpu").run(crops), bundle.spec)
    inputs = {FRAME: frame, BOXES: boxes.astype(np.float32)}
    (points,) = run_graph(open_graph(graphs["keypoints"]), graphs["keypoints"], [KEYPOINTS], {INPUT_NAME: crops})
    (whole,) = run_graph(open_graph(graphs["whole"]), graphs["whole"], [KEYPOINTS], inputs)
    in_image = transform_points(expected[..., :2], affines)
    found = {
        "points": float(np.linalg.norm(points[..., :2] - expected[..., :2], axis=2).max()),
        "whole": float(np.median(np.linalg.norm(whole[..., :2] - in_image, axis=2))),
    }
    if found["points"] > TOLERANCE_PX or (precision == "fp32" and found["whole"] > TOLERANCE_PX):
        raise RuntimeError(f"the joined graphs of {precision} differ from the ordinary pipeline: {found} px")
    return found


def join_whole(front: ModelProto, network: ModelProto, back: ModelProto, names: tuple[str, str]) -> ModelProto:
    """A graph from a frame and boxes to keypoints, of its three parts; `names` are the network's input and output."""
    whole = joined(front, network, {INPUT_NAME: names[0]})
    return joined(whole, back, {names[1]: OUTPUT_NAME, "scale": "scale", "shift": "shift"})


def joined(first: ModelProto, second: ModelProto, links: dict[str, str]) -> ModelProto:
    """One graph after the other; `links` are the first's outputs and the second's inputs that they become."""
    parts = [ModelProto.FromString(part.SerializeToString()) for part in (first, second)]
    for part in parts:
        del part.metadata_props[:]  # onnxsim's statistics differ between graphs, which `merge_models` refuses
        del part.graph.value_info[:]  # "unk__0" is another size in each, and a runtime trusts it
    return compose.merge_models(*parts, io_map=list(links.items()))


def _ends(spec: PoseSpec, folder: Path) -> tuple[ModelProto, ModelProto, ModelProto]:
    """Trace crop, decode to image px, and decode to crop px; inner names are prefixed so that they cannot collide."""
    heatmaps = torch.rand(2, len(spec.skeleton), *spec.grid)
    plain = trace(Decode(spec), (heatmaps,), folder / "plain.onnx", {OUTPUT_NAME: PEOPLE}, {KEYPOINTS: PEOPLE})
    crop = trace_crop(Crop(spec), torch.zeros(96, 128, 3, dtype=torch.uint8), folder)
    return crop, trace_decode(spec, folder), _prefixed(plain, "decode/")


def trace_crop(crop: nn.Module, frame: Tensor, folder: Path) -> ModelProto:
    """The graph of a module that crops as `Crop` does; `frame` (H, W, C) is an example."""
    boxes = torch.tensor([[10.0, 10, 60, 90], [20, 5, 100, 80]])
    inputs = {FRAME: {0: "height", 1: "width"}, BOXES: PEOPLE}
    outputs = {INPUT_NAME: PEOPLE, "scale": PEOPLE, "shift": PEOPLE}
    return _prefixed(trace(crop, (frame, boxes), folder / "front.onnx", inputs, outputs), "crop/")


def trace_decode(spec: PoseSpec, folder: Path) -> ModelProto:
    """The graph from heatmaps, and the scale and shift of their crops, to keypoints in image px."""
    heatmaps, scale, shift = torch.rand(2, len(spec.skeleton), *spec.grid), torch.ones(2, 2), torch.zeros(2, 2)
    links = {OUTPUT_NAME: PEOPLE, "scale": PEOPLE, "shift": PEOPLE}
    back = trace(_DecodeToImage(spec), (heatmaps, scale, shift), folder / "back.onnx", links, {KEYPOINTS: PEOPLE})
    return _prefixed(back, "decode/")


def _prefixed(model: ModelProto, prefix: str) -> ModelProto:
    return compose.add_prefix(model, prefix, rename_inputs=False, rename_outputs=False)

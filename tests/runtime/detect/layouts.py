"""A hand-made detector for every row of the families' table: (name, how it is opened, and its graph)."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from lehrnet.runtime.detect import KINDS, Description

LAYOUTS: dict[str, tuple[str, str, Callable]] = {}
"""By name: the kind that it is opened as ("auto" or a name), the kind that it is, and its builder."""
NAMES = "{0: 'person', 1: 'bicycle'}"


def layout(name: str, kind: str, opened: str = "auto"):
    def add(build: Callable) -> Callable:
        LAYOUTS[name] = (opened, kind, build)
        return build

    return add


def cells(size: tuple[int, int], strides: Sequence[int]) -> list[tuple[int, int, int]]:
    """(stride, column, row) of every cell."""
    return [
        (stride, column, row)
        for stride in strides
        for row in range(-(-size[0] // stride))
        for column in range(-(-size[1] // stride))
    ]


def make(graphs, kind: str, size=(320, 320), **options):
    return graphs.Graph(KINDS[kind], size, **options)


def yolox(graphs, path: Path, kind: str, decoded: bool, others: tuple[float, ...] = (0.1,)) -> Path:
    graph = make(graphs, kind)
    every = cells(graph.size, (8, 16, 32))
    place = every.index((16, 5, 4))
    x, y, wide, tall = graph.cxcywh()
    if decoded:
        wide = graph.op("Exp", graph.op("Log", wide))
    else:
        x, y = graph.plus(graph.times(x, 1 / 16), -5), graph.plus(graph.times(y, 1 / 16), -4)
        wide, tall = (graph.op("Log", graph.times(side, 1 / 16)) for side in (wide, tall))
    row = graph.row(x, y, wide, tall, 0.95, graph.score, *others)
    graph.give("output", graph.among(row, len(every), place), (1, len(every), 6 + len(others)))
    return graph.save(path)


@layout("1 YOLOX raw", "yolox")
def _(graphs, path: Path) -> Path:
    return yolox(graphs, path, "yolox", False)


@layout("1b YOLOX decoded", "yolox-decoded")
def _(graphs, path: Path) -> Path:
    return yolox(graphs, path, "yolox-decoded", True)


@layout("1 YOLOX of people alone", "yolox")
def _(graphs, path: Path) -> Path:
    return yolox(graphs, path, "yolox", False, others=())


@layout("1c YOLOX of opencv_zoo", "yolox-rgb", "yolox-rgb")
def _(graphs, path: Path) -> Path:
    return yolox(graphs, path, "yolox-rgb", False)


def mmdet(graphs, path: Path, kind: str, sliced: bool) -> Path:
    graph = make(graphs, kind, size=(192, 320), image="input")
    if sliced:  # YOLOX's Focus
        begin, end = (graph.constant([value], np.int64) for value in (0, 96))
        graph.op("Slice", "input", begin, end, graph.constant([2], np.int64))
    table = graph.among(graph.row(*graph.xyxy(), graph.score), 100, 1)
    other = graph.row(1.0, 2.0, 30.0, 40.0, 0.99)  # of another class, and surer
    table = graph.op(
        "Concat", graph.op("Slice", table, *(graph.constant([value], np.int64) for value in (0, 99, 1))), other, axis=1
    )
    labels = np.full((1, 100), -1)
    labels[0, 1], labels[0, 99] = 0, 17
    graph.give("dets", table, (1, 100, 5))
    graph.give("labels", graph.constant(labels), (1, 100), graphs.INT64)
    return graph.save(path)


@layout("2 mmdeploy RTMDet", "mmdet")
def _(graphs, path: Path) -> Path:
    return mmdet(graphs, path, "mmdet", False)


@layout("2 mmdeploy YOLOX", "mmdet-yolox")
def _(graphs, path: Path) -> Path:
    return mmdet(graphs, path, "mmdet-yolox", True)


@layout("2b mmdet without NMS", "mmdet-raw")
def _(graphs, path: Path) -> Path:
    graph = make(graphs, "mmdet-raw", image="input")
    graph.give("bboxes", graph.among(graph.row(*graph.xyxy()), 50, 7), (1, 50, 4))
    graph.give("probabilities", graph.among(graph.row(graph.score, 0.2, 0.1), 50, 7), (1, 50, 3))
    return graph.save(path)


@layout("3 RT-DETR, D-FINE, DEIM", "detr")
def _(graphs, path: Path) -> Path:
    graph = make(graphs, "detr", size=(640, 640))
    sides = graph.op("Split", graph.also("orig_target_sizes", graphs.INT64), axis=0)
    graph.nodes[-1].output.append("height")
    wide, tall = sides, "height"
    corners = [
        graph.op("Mul", graph.times(side, 1 / 640), (wide, tall)[place % 2]) for place, side in enumerate(graph.xyxy())
    ]
    scores = graph.among(graph.row(graph.score), 300, 5)
    labels = np.ones((1, 300))
    labels[0, 5] = 0
    graph.give("labels", graph.constant(labels), (1, 300), graphs.INT64)
    graph.give("boxes", graph.among(graph.row(*corners), 300, 5), (1, 300, 4))
    graph.give("scores", graph.squeezed(scores, 2), (1, 300))
    return graph.save(path)


@layout("4 RT-DETR of Hugging Face", "hf-detr")
def _(graphs, path: Path) -> Path:
    graph = make(graphs, "hf-detr", size=(640, 640), image="pixel_values")
    logits = graph.among(graph.row(graph.logit(), -5.0, -6.0), 300, 9, graphs.NOTHING)
    graph.give("logits", logits, (1, 300, 3))
    graph.give("pred_boxes", graph.among(graph.row(*graph.cxcywh((1 / 640, 1 / 640))), 300, 9), (1, 300, 4))
    return graph.save(path)


def rfdetr(graphs, path: Path, classes: int, person: int) -> Path:
    graph = make(graphs, "rfdetr", size=(384, 384), image="input")
    logits: list[float | str] = [graphs.NOTHING] * classes
    logits[person] = graph.logit()
    graph.give("dets", graph.among(graph.row(*graph.cxcywh((1 / 384, 1 / 384))), 300, 2), (1, 300, 4))
    graph.give("labels", graph.among(graph.row(*logits), 300, 2, graphs.NOTHING), (1, 300, classes))
    return graph.save(path)


@layout("5 RF-DETR, COCO's 91 classes", "rfdetr")
def _(graphs, path: Path) -> Path:
    return rfdetr(graphs, path, 91, 1)


@layout("5 RF-DETR, trained by a user", "rfdetr")
def _(graphs, path: Path) -> Path:
    return rfdetr(graphs, path, 2, 0)


def ultralytics(graphs, path: Path, metadata: dict[str, str] | None, joints: int = 0) -> Path:
    graph = make(graphs, "ultralytics", size=(256, 320))
    count = len(cells(graph.size, (8, 16, 32)))
    values = (graph.score, *([0.95] * 3 * joints)) if joints else (graph.score, 0.2)
    table = graph.among(graph.row(*graph.cxcywh(), *values), count, 40)
    graph.give("output0", graph.op("Transpose", table, perm=[0, 2, 1]), (1, 4 + len(values), count))
    return graph.save(path, metadata)


@layout("6 Ultralytics v8", "ultralytics")
def _(graphs, path: Path) -> Path:
    return ultralytics(graphs, path, {"names": NAMES, "task": "detect", "stride": "32"})


@layout("6 Ultralytics without its metadata", "ultralytics")
def _(graphs, path: Path) -> Path:
    return ultralytics(graphs, path, None)


@layout("6 Ultralytics pose", "ultralytics")
def _(graphs, path: Path) -> Path:
    facts = {"names": "{0: 'person'}", "task": "pose", "stride": "32", "kpt_shape": "[17, 3]"}
    return ultralytics(graphs, path, facts, joints=17)


def ended(graphs, path: Path, metadata: dict[str, str] | None, joints: int = 0) -> Path:
    graph = make(graphs, "ultralytics-nms", size=(256, 320))
    row = graph.row(*graph.xyxy(), graph.score, 0.0, *([0.5] * 3 * joints))
    graph.give("output0", graph.among(row, 300, 0), (1, 300, 6 + 3 * joints))
    return graph.save(path, metadata)


@layout("6b Ultralytics one-to-one", "ultralytics-nms")
def _(graphs, path: Path) -> Path:
    return ended(graphs, path, {"names": NAMES, "task": "detect", "stride": "32", "end2end": "True"})


@layout("6b YOLOv10 without metadata", "ultralytics-nms")
def _(graphs, path: Path) -> Path:
    return ended(graphs, path, None)


@layout("6b Ultralytics pose one-to-one", "ultralytics-nms")
def _(graphs, path: Path) -> Path:
    facts = {"names": "{0: 'person'}", "task": "pose", "stride": "32", "end2end": "True", "kpt_shape": "[17, 3]"}
    return ended(graphs, path, facts, joints=17)


def distances(graph, kind: str) -> tuple[list[tuple[int, int, int]], int, str]:
    """All cells, the place of the person's, and its row of logits of four distances."""
    description: Description = KINDS[kind]
    every = cells(graph.size, description.strides)
    stride, column, row = 32, 4, 3
    shift = {"corner": 0.0, "pixel": (stride - 1) / 2, "middle": stride / 2}[description.prior]
    prior = (column * stride + shift, row * stride + shift)
    lengths, top = [], description.bins - 1
    for place, side in enumerate(graph.xyxy()):
        away = graph.plus(graph.times(side, (-1, 1)[place // 2]), (1, -1)[place // 2] * prior[place % 2])
        share = graph.times(away, 1 / stride / top)  # of the last bin; the first has the rest
        rest = graph.plus(graph.times(share, -1), 1)
        lengths += [graph.op("Log", rest), *([-60.0] * (top - 1)), graph.op("Log", share)]
    return every, every.index((stride, column, row)), graph.row(*lengths)


@layout("7 NanoDet-Plus", "nanodet")
def _(graphs, path: Path) -> Path:
    graph = make(graphs, "nanodet", image="data")
    every, place, row = distances(graph, "nanodet")
    scores = graph.row(graph.score, *([0.05] * 79))
    table = graph.among(graph.op("Concat", scores, row, axis=2), len(every), place)
    graph.give("output", table, (1, len(every), 112))
    return graph.save(path)


def maps(graphs, path: Path, kind: str, image: str, scores_first: bool = True) -> Path:
    graph = make(graphs, kind, image=image)
    every, place, row = distances(graph, kind)
    columns = 4 * KINDS[kind].bins
    tables = (
        ("cls", graph.among(graph.row(graph.score, *([0.05] * 79)), len(every), place), 80),
        ("reg", graph.among(row, len(every), place), columns),
    )
    for name, table, width in tables if scores_first else reversed(tables):
        start = 0
        for stride in KINDS[kind].strides:
            end = start + sum(cell[0] == stride for cell in every)
            ends = (graph.constant([value], np.int64) for value in (start, end, 1))
            graph.give(f"{name}{stride}", graph.op("Slice", table, *ends), (1, "rows", width))
            start = end
    return graph.save(path)


@layout("7b NanoDet of opencv_zoo", "nanodet-maps")
def _(graphs, path: Path) -> Path:
    return maps(graphs, path, "nanodet-maps", "input_1")


@layout("NanoDet-g, three maps of 11 bins", "nanodet-g")
def _(graphs, path: Path) -> Path:
    return maps(graphs, path, "nanodet-g", "input_1", scores_first=False)


@layout("8 PicoDet with post-process", "picodet")
def _(graphs, path: Path) -> Path:
    graph = make(graphs, "picodet", image="image")
    tall = graph.op("Split", graph.also("scale_factor", graphs.FLOAT), axis=0)
    graph.nodes[-1].output.append("x_scale")
    corners = [graph.op("Div", side, ("x_scale", tall)[place % 2]) for place, side in enumerate(graph.xyxy())]
    table = graph.among(graph.row(0.0, graph.score, *corners), 10, 0)
    graph.give("boxes", graph.squeezed(table, 0), ("n", 6))
    graph.give("count", graph.constant([10]), (1,), graphs.INT64)
    return graph.save(path)


@layout("8b PicoDet without", "picodet-raw")
def _(graphs, path: Path) -> Path:
    return maps(graphs, path, "picodet-raw", "image")


def mediapipe(graphs, path: Path, last: bool) -> Path:
    graph = make(graphs, "mediapipe", size=(224, 224), image="input_1", last=last)
    every = [(28, column, row) for row in range(28) for column in range(28) for _ in range(2)]
    place, count = every.index((28, 9, 12)), 2254
    anchor = (9.5 / 28, 12.5 / 28)
    x, y, _, tall = graph.cxcywh()
    hips = [graph.plus(side, -224 * anchor[axis]) for axis, side in enumerate((x, y))]
    body = [hips[0], graph.op("Sub", hips[1], graph.times(tall, 0.5))]
    values = graph.row(1.0, 2.0, 3.0, 4.0, *hips, *body, 0.0, 0.0, 0.0, 0.0)
    graph.give("Identity", graph.among(values, count, place), (1, count, 12))
    graph.give("Identity_1", graph.among(graph.row(graph.logit()), count, place, graphs.NOTHING), (1, count, 1))
    return graph.save(path)


@layout("9 MediaPipe, channels first", "mediapipe")
def _(graphs, path: Path) -> Path:
    return mediapipe(graphs, path, False)


@layout("9 MediaPipe, channels last", "mediapipe")
def _(graphs, path: Path) -> Path:
    return mediapipe(graphs, path, True)

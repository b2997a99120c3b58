"""The contract of every family, on graphs made by hand: a person drawn at a known place is found there."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lehrnet.pose.overlap import iou
from lehrnet.runtime.detect import KINDS, Description, DetectorOptions, PersonDetector
from lehrnet.runtime.detect.decoding import decode

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

PLACE = np.array([90.0, 40, 150, 160])


def beside(name: str):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


graphs, layouts = beside("graphs"), beside("layouts")


@pytest.fixture
def frame() -> np.ndarray:
    """A picture of 320 x 200 px with one person, who is a rectangle."""
    picture = np.full((200, 320, 3), (60, 90, 50), np.uint8)
    x1, y1, x2, y2 = PLACE.astype(int)
    picture[y1:y2, x1:x2] = graphs.PERSON_BGR
    return picture


def build(name: str, folder: Path) -> Path:
    return layouts.LAYOUTS[name][2](graphs, folder / "detector.onnx")


@pytest.mark.parametrize("name", layouts.LAYOUTS)
def test_a_person_is_found_where_they_were_drawn(name: str, frame, tmp_path: Path) -> None:
    opened, kind, _ = layouts.LAYOUTS[name]
    detector = PersonDetector.open(build(name, tmp_path), opened, device="cpu")
    assert detector.description.kind == kind
    boxes, scores = detector(frame)
    wanted = PLACE
    if kind == "mediapipe":  # a square round the middle, as high as the person
        middle, half = (PLACE[:2] + PLACE[2:]) / 2, (PLACE[3] - PLACE[1]) / 2
        wanted = np.concatenate((middle - half, middle + half))
    assert len(boxes) == 1, (boxes, scores)
    np.testing.assert_allclose(boxes[0], wanted, atol=2.5)  # px: a pixel of the network's input
    assert scores[0] > 0.8


@pytest.mark.parametrize("name", layouts.LAYOUTS)
def test_an_empty_picture_has_nobody(name: str, frame, tmp_path: Path) -> None:
    detector = PersonDetector.open(build(name, tmp_path), layouts.LAYOUTS[name][0], device="cpu")
    boxes, scores = detector(np.full_like(frame, 90))
    assert (boxes.shape, scores.shape) == ((0, 4), (0,))


def test_a_person_in_another_colour_order_is_not_found(frame, tmp_path: Path) -> None:
    detector = PersonDetector.open(build("1 YOLOX raw", tmp_path), "yolox-rgb", device="cpu")
    assert len(detector(frame)[0]) == 0


def test_every_kind_that_has_a_name_is_tested() -> None:
    assert {kind for _, kind, _ in layouts.LAYOUTS.values()} == set(KINDS) - {"boxes"}


class TestDescriptions:
    def test_a_json_beside_the_file_describes_any_layout(self, frame, tmp_path: Path) -> None:
        description = replace(KINDS["boxes"], resize="stretch", columns="class,score,box", scale=1.0)
        graph = graphs.Graph(description, (200, 320), image="frame")
        graph.give("found", graph.among(graph.row(7.0, graph.score, *graph.xyxy()), 5, 3), (1, 5, 6))
        path = graph.save(tmp_path / "mine.onnx")
        facts = {"kind": "boxes", "resize": "stretch", "columns": "class,score,box", "scale": 1.0, "person_class": 7}
        (tmp_path / "mine.json").write_text(json.dumps(facts))
        boxes, _ = PersonDetector.open(path, device="cpu")(frame)
        np.testing.assert_allclose(boxes, [PLACE], atol=1)

    @pytest.mark.parametrize(
        ("facts", "message"),
        [
            ({}, "kind is missing or unknown, expected one of yolox, "),
            ({"kind": "yolox", "colours": "bgr"}, "'colours' is not known, expected some of "),
            ({"kind": "yolox", "size": [320]}, "size is [320], expected 2 items"),
            ({"kind": "yolox", "resize": "shrink"}, "resize is 'shrink', expected 'letterbox_topleft' or "),
            ({"kind": "yolox", "size": [64, 64]}, "it takes images of (320, 320) px (height, width), and (64, 64)"),
        ],
    )
    def test_a_json_that_says_nonsense_is_refused(self, facts, message: str, tmp_path: Path) -> None:
        path = build("1 YOLOX raw", tmp_path)
        path.with_suffix(".json").write_text(json.dumps(facts))
        with pytest.raises(ValueError, match="detector") as error:
            PersonDetector.open(path, device="cpu")
        assert message in str(error.value)

    def test_settings_are_checked(self) -> None:
        with pytest.raises(ValueError, match="strides are"):
            Description("x", "grid")
        with pytest.raises(ValueError, match="the lowest score is 2"):
            DetectorOptions(min_score=2)


class TestRefusals:
    def test_an_unknown_layout_says_what_was_seen(self, tmp_path: Path) -> None:
        graph = graphs.Graph(KINDS["boxes"], (64, 64), image="picture")
        graph.give("strange", graph.row(*graph.xyxy(), 1.0, 2.0, 3.0), (1, 1, 7))
        path = graph.save(tmp_path / "d.onnx")
        with pytest.raises(ValueError, match="no known family") as error:
            PersonDetector.open(path, device="cpu")
        assert "inputs picture (1, 3, 64, 64), outputs strange (1, 1, 7)" in str(error.value)
        assert "--detector-kind" in str(error.value)

    def test_a_detector_without_a_person_class(self, tmp_path: Path) -> None:
        facts = {"names": "{0: 'cat', 1: 'dog'}", "task": "detect", "stride": "32"}
        path = layouts.ultralytics(graphs, tmp_path / "d.onnx", facts)
        with pytest.raises(ValueError, match="none of its 2 classes is a person: cat, dog"):
            PersonDetector.open(path, device="cpu")

    def test_a_person_class_that_is_not_there(self, tmp_path: Path) -> None:
        path = build("1 YOLOX raw", tmp_path)
        with pytest.raises(ValueError, match="it has classes 0 to 1, and that of people is said to be 5"):
            PersonDetector.open(path, options=DetectorOptions(person_class=5), device="cpu")

    def test_another_task(self, tmp_path: Path) -> None:
        facts = {"names": "{0: 'person'}", "task": "segment", "stride": "32"}
        path = layouts.ultralytics(graphs, tmp_path / "d.onnx", facts)
        with pytest.raises(ValueError, match="task is 'segment', expected detect or pose"):
            PersonDetector.open(path, device="cpu")

    @pytest.mark.parametrize(
        ("content", "message"), [(b"", "has 0 bytes"), (b"no graph", "no whole ONNX model|no ONNX model")]
    )
    def test_no_onnx_file(self, content: bytes, message: str, tmp_path: Path) -> None:
        (tmp_path / "d.onnx").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            PersonDetector.open(tmp_path / "d.onnx", device="cpu")
        with pytest.raises(FileNotFoundError, match="no detector at"):
            PersonDetector.open(tmp_path / "none.onnx", device="cpu")

    def test_tensors_in_other_files(self, tmp_path: Path) -> None:
        import onnx

        path = build("1 YOLOX raw", tmp_path)
        model = onnx.load(str(path))
        onnx.save(model, str(path), save_as_external_data=True, location="w.bin", size_threshold=0)
        with pytest.raises(ValueError, match="keeps tensors in other files"):
            PersonDetector.open(path, device="cpu")

    def test_a_kind_that_the_file_is_not(self, tmp_path: Path) -> None:
        path = build("1 YOLOX raw", tmp_path)
        with pytest.raises(ValueError, match="has no output 'pred_boxes'; there are output"):
            PersonDetector.open(path, "hf-detr", device="cpu")


class TestOptions:
    def table(self, *rows: tuple[float, ...]) -> dict[str, np.ndarray]:
        return {"output0": np.array([rows], np.float32)}

    def test_size_number_and_duplicates(self, frame, tmp_path: Path) -> None:
        path = build("6b YOLOv10 without metadata", tmp_path)
        small = DetectorOptions(min_size=61)
        assert len(PersonDetector.open(path, options=small, device="cpu")(frame)[0]) == 0  # 60 px wide
        assert len(PersonDetector.open(path, options=DetectorOptions(min_score=0.95), device="cpu")(frame)[0]) == 0

    def test_yolox_by_its_definition(self) -> None:
        """Against the arithmetic of the paper's demo, written out for one cell."""
        size, rng = (64, 96), np.random.default_rng(0)
        count = len(layouts.cells(size, (8, 16, 32)))
        raw = rng.normal(0, 1, (1, count, 7)).astype(np.float32)
        boxes, scores = decode({"output": raw}, KINDS["yolox"], size)
        for place, (stride, column, row) in enumerate(layouts.cells(size, (8, 16, 32))):
            x, y, wide, tall, objectness, person, _ = raw[0, place].astype(float)
            middle = np.array(((x + column) * stride, (y + row) * stride))
            half = np.exp((wide, tall)) * stride / 2
            np.testing.assert_allclose(boxes[place], (*(middle - half), *(middle + half)), rtol=1e-6)
            assert scores[place] == pytest.approx(objectness * person, rel=1e-6)

    def test_distances_are_the_means_of_their_distributions(self) -> None:
        size, rng = (64, 64), np.random.default_rng(1)
        every = layouts.cells(size, (8, 16, 32, 64))
        raw = rng.normal(0, 2, (1, len(every), 80 + 32)).astype(np.float32)
        boxes, _ = decode({"output": raw}, KINDS["nanodet"], size)
        for place, (stride, column, row) in enumerate(every):
            shares = np.exp(raw[0, place, 80:].astype(float).reshape(4, 8))
            left, top, right, bottom = (shares / shares.sum(1, keepdims=True)) @ np.arange(8) * stride
            x, y = column * stride, row * stride
            np.testing.assert_allclose(boxes[place], (x - left, y - top, x + right, y + bottom), rtol=1e-5, atol=1e-4)


NANODET = Path(__file__).resolve().parents[4] / "shared" / "data" / "detector" / "nanodet_g_416.onnx"
DETECTIONS = NANODET.parents[1] / "video" / "two_people.detections.json"


@pytest.mark.slow
def test_a_real_nanodet_finds_what_was_found_with_it_before() -> None:
    from lehrnet.runtime.video import open_video

    if not NANODET.is_file() or not DETECTIONS.is_file():
        pytest.skip("the shared detector and videos are not here")
    detector, wanted = PersonDetector.open(NANODET, device="cpu"), json.loads(DETECTIONS.read_text())
    with open_video(DETECTIONS.with_name("two_people.mp4")) as video:
        for frame in video:
            if frame.index % 12 == 0:
                boxes, _ = detector(frame.image)
                alike = iou(np.array(wanted[frame.index])[:, :4], boxes)
                assert (alike.max(1) > 0.85).all(), frame.index

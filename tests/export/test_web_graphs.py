"""Graphs for a browser: the crop against the definition, FP16 weights against FP32."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lehrnet.pose.crop import crop_people
from lehrnet.pose.heatmap import FRAMES
from lehrnet.pose.spec import PoseSpec
from lehrnet.runtime.bundle import open_bundle

pytest.importorskip("onnxsim")
onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")

from lehrnet.export.web_graphs import CanvasCrop, check_web_graphs, halved, write_page, write_web_graphs  # noqa: E402
from lehrnet.runtime.backends.onnxruntime import open_graph, run_graph  # noqa: E402

BOXES = np.array(
    [[10, 20, 90, 100], [-40, -30, 60, 70], [100, 80, 300, 200], [3.25, 7.5, 11.75, 13], [400, 400, 420, 440]]
)
"""Inside, over the corners, smaller than a crop, and beside the picture."""


@pytest.mark.parametrize("frame", FRAMES)
def test_the_crop_of_a_canvas_is_the_definition_s(frame, image) -> None:
    spec = PoseSpec(input_size=(64, 96), frame=frame)
    expected, affines = crop_people(image, BOXES, spec)
    rgba = np.dstack((image[..., ::-1], np.random.default_rng(1).integers(0, 256, image.shape[:2], dtype=np.uint8)))
    crops, scale, shift = CanvasCrop(spec)(torch.from_numpy(rgba), torch.from_numpy(BOXES).float())
    np.testing.assert_allclose(crops, expected, atol=2e-4)  # in standard deviations of a colour
    np.testing.assert_allclose(scale, affines[:, [0, 1], [0, 1]], rtol=1e-6)
    np.testing.assert_allclose(shift, affines[:, :, 2], atol=1e-4)  # px


def test_both_graphs_equal_the_ordinary_pipeline_and_nobody_is_an_answer(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    graphs = write_web_graphs(bundle, tmp_path)
    found = check_web_graphs(bundle, graphs)
    assert found["fp32"]["max_px"] < 0.01
    assert found["fp16"]["median_px"] < 0.5
    nobody = {"frame": np.zeros((5, 7, 4), np.uint8), "boxes": np.empty((0, 4), np.float32)}
    (points,) = run_graph(open_graph(graphs["fp16"]), graphs["fp16"], ["keypoints"], nobody)
    assert points.shape == (0, 17, 3)


def test_weights_in_fp16_take_half_and_those_that_it_cannot_hold_stay(tiny_bundle: Path) -> None:
    network = onnx.load(str(open_bundle(tiny_bundle).path("fp32")))
    large = max(network.graph.initializer, key=lambda each: len(each.raw_data))
    values = onnx.numpy_helper.to_array(large).copy()
    values.flat[0] = 1e6
    large.CopyFrom(onnx.numpy_helper.from_array(values, large.name))
    stored = {each.name: each for each in halved(network).graph.initializer}
    assert stored[large.name].data_type == onnx.TensorProto.FLOAT
    halves = [each for name, each in stored.items() if name.endswith("_fp16")]
    assert len(halves) > 50
    assert {each.data_type for each in halves} == {onnx.TensorProto.FLOAT16}


def test_a_network_of_a_fixed_batch_of_several_has_no_page(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    fixed = replace(bundle.artefacts["fp32"], batch=(4, 4))
    with pytest.raises(ValueError, match="one person at a time, but this graph takes batches of 4"):
        write_page(replace(bundle, root=tmp_path, artefacts={"fp32": fixed}), tmp_path)
    assert not list(tmp_path.iterdir())

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from lehrnet.parsing import device_index
from lehrnet.runtime import PoseEstimator
from lehrnet.runtime.backends.library_path import find_library
from lehrnet.runtime.session import open_session


def test_the_cpu_is_taken_when_asked_for(tiny_bundle: Path) -> None:
    for name, backend in (("fp32.onnx", "onnxruntime"), ("model.safetensors", "torch")):
        session = open_session(tiny_bundle / name, "cpu", threads=1)
        assert (session.backend, session.device) == (backend, "cpu")


def test_auto_says_what_it_chose(tiny_bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        session = open_session(tiny_bundle / "fp32.onnx")
    assert f"fp32.onnx runs on {session.device} by onnxruntime" in caplog.text


@pytest.mark.parametrize("name", ["fp32.onnx", "model.safetensors"])
def test_a_gpu_that_is_not_there_is_refused_not_replaced(name: str, tiny_bundle: Path) -> None:
    with pytest.raises(RuntimeError, match="device is cuda:63|found no usable CUDA for cuda:63"):
        open_session(tiny_bundle / name, "cuda:63")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", "cpu:0"])
def test_a_device_that_does_not_exist_is_refused(device: str, tiny_bundle: Path) -> None:
    with pytest.raises(ValueError, match="expected cpu, cuda, cuda:N or auto"):
        open_session(tiny_bundle / "fp32.onnx", device)


@pytest.mark.parametrize("name", ["fp32.onnx", "model.safetensors"])
def test_a_closed_session_says_so(name: str, tiny_bundle: Path) -> None:
    session = open_session(tiny_bundle / name, "cpu")
    crops = np.zeros((1, 3, 64, 64), np.float32)
    assert session.run(crops).shape == (1, 17, 16, 16)
    session.close()
    session.close()
    with pytest.raises(ValueError, match="the session is closed"):
        session.run(crops)


def test_with_closes_an_estimator_also_after_an_error(tiny_bundle: Path, image) -> None:
    with pytest.raises(ValueError, match="boxes"), PoseEstimator.open(tiny_bundle, device="cpu") as estimator:
        estimator(image, [[1, 2]])
    with pytest.raises(ValueError, match="the session is closed"):
        estimator(image)


def test_a_device_names_its_gpu() -> None:
    assert [device_index(device) for device in ("cpu", "cuda", "cuda:2")] == [None, 0, 2]


def test_a_text_file_named_onnx_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("this is a poem")
    with pytest.raises(ValueError, match="is not an ONNX model"):
        open_session(tmp_path / "model.onnx", "cpu")


def test_a_foreign_graph_is_refused_with_its_names(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    x, y = value("x", onnx.TensorProto.FLOAT, [1, 3, 8, 8]), value("y", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "relu", [x], [y])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "relu.onnx"))
    with pytest.raises(ValueError, match=r"x is 1 x 3 x 8 x 8, expected N x 3 x H x W with fixed H and W"):
        open_session(tmp_path / "relu.onnx", "cpu")
    graph.output.append(value("x", onnx.TensorProto.FLOAT, [1, 3, 8, 8]))
    onnx.save(onnx.helper.make_model(graph, ir_version=8), str(tmp_path / "relu.onnx"))
    with pytest.raises(ValueError, match=r"maps \['x'\] to \['y', 'x'\], expected one input and one output"):
        open_session(tmp_path / "relu.onnx", "cpu")


def test_an_unknown_suffix_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").touch()
    with pytest.raises(ValueError, match=r"suffix is '\.tflite'"):
        open_session(tmp_path / "model.tflite")
    with pytest.raises(FileNotFoundError, match="no model at"):
        open_session(tmp_path / "model.onnx")


@pytest.mark.parametrize("name", ["fp32.onnx", "model.safetensors"])
def test_crops_of_another_type_are_refused(name: str, tiny_bundle: Path) -> None:
    session = open_session(tiny_bundle / name, "cpu")
    with pytest.raises(ValueError, match="of float32"):
        session.run(np.zeros((1, 3, 64, 64)))  # pyright: ignore[reportArgumentType]


def test_crops_of_another_size_are_refused(tiny_bundle: Path) -> None:
    session = open_session(tiny_bundle / "fp32.onnx", "cpu")
    with pytest.raises(ValueError, match=r"expected \(N, 3, 64, 64\)"):
        session.run(np.zeros((1, 3, 64, 32), np.float32))


def graph_file(path: Path, shape: list, out: list, *, kind: str = "FLOAT", pool: int = 4) -> Path:
    """An ONNX file that averages crops of a shape, three joints a crop."""
    onnx = pytest.importorskip("onnx")
    helper, element = onnx.helper, getattr(onnx.TensorProto, kind)
    crops = helper.make_tensor_value_info("crops", element, shape)
    heatmaps = helper.make_tensor_value_info("heatmaps", element, out)
    repeat = helper.make_tensor("repeat", onnx.TensorProto.INT64, [4], [1, 17, 1, 1])
    nodes = [
        helper.make_node("AveragePool", ["crops"], ["pooled"], kernel_shape=[pool, pool], strides=[pool, pool]),
        helper.make_node("ReduceMean", ["pooled"], ["one"], axes=[1], keepdims=1),
        helper.make_node("Tile", ["one", "repeat"], ["heatmaps"]),
    ]
    graph = helper.make_graph(nodes, "average", [crops], [heatmaps], [repeat])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


class TestForeignGraphs:
    @pytest.mark.parametrize("people", [0, 1, 2, 3, 5])
    @pytest.mark.parametrize("batch", [1, 2, "n"])
    def test_a_fixed_batch_runs_in_turns(self, batch, people: int, tmp_path: Path) -> None:
        session = open_session(graph_file(tmp_path / "a.onnx", [batch, 3, 64, 32], [batch, 17, 16, 8]), "cpu")
        crops = np.random.default_rng(0).standard_normal((people, 3, 64, 32), dtype=np.float32)
        expected = np.repeat(crops.reshape(people, 3, 16, 4, 8, 4).mean((1, 3, 5))[:, None], 17, 1)
        np.testing.assert_allclose(session.run(crops), expected, atol=1e-6)

    @pytest.mark.parametrize(
        ("shape", "out", "kind", "message"),
        [
            (["n", 3, "h", "w"], ["n", 17, "a", "b"], "FLOAT", "crops is n x 3 x h x w, expected N x 3 x H x W with"),
            (["n", 3, 60, 60], ["n", 17, 15, 15], "FLOAT", "in multiples of 32; export it with a fixed size"),
            (["n", 1, 64, 64], ["n", 17, 16, 16], "FLOAT", "crops is n x 1 x 64 x 64"),
            (
                ["n", 3, 64, 64],
                ["n", 17, 16, 16],
                "FLOAT16",
                r"crops is tensor\(float16\) of n x 3 x 64 x 64, expected",
            ),
        ],
    )
    def test_another_contract_is_refused_with_what_it_is(self, shape, out, kind, message: str, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=message):
            open_session(graph_file(tmp_path / "a.onnx", shape, out, kind=kind), "cpu")

    def test_heatmaps_of_another_grid_are_refused(self, tmp_path: Path) -> None:
        path = graph_file(tmp_path / "a.onnx", ["n", 3, 64, 64], ["n", 17, "h", "w"], pool=64)
        with pytest.raises(ValueError, match="heatmaps is n x 17 x 1 x 1, expected N x K x 16 x 16, or another whole"):
            open_session(path, "cpu")

    def test_another_whole_stride_is_taken(self, tmp_path: Path) -> None:
        session = open_session(graph_file(tmp_path / "a.onnx", ["n", 3, 64, 64], ["n", 17, "h", "w"], pool=8), "cpu")
        assert (session.spec.stride, session.spec.grid) == (8, (8, 8))
        assert session.run(np.zeros((2, 3, 64, 64), np.float32)).shape == (2, 17, 8, 8)


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_threads_are_bounded_by_what_exists(threads: int, tiny_bundle: Path) -> None:
    with pytest.raises(ValueError, match=f"threads is {threads}, expected 1 to {os.cpu_count()}"):
        open_session(tiny_bundle / "fp32.onnx", "cpu", threads)


@pytest.mark.parametrize("library", ["mylib.so", "./mylib.so", "~/mylib.so"])
def test_the_library_is_never_looked_for_in_the_current_folder(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mylib.so").touch()
    (tmp_path / "liblehrnet.so").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEHRNET_LIBRARY", library)
    with pytest.raises(ValueError, match="expected an absolute path: a library is code"):
        find_library()
    monkeypatch.delenv("LEHRNET_LIBRARY")
    assert find_library() != str(tmp_path / "liblehrnet.so")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "image is NoneType, expected a NumPy array"),
        ([[1]], "image is list"),
        (np.zeros((4, 4)), r"shape \(4, 4\)"),
    ],
)
def test_what_is_no_image_is_refused(image, message: str, tiny_bundle: Path) -> None:
    with pytest.raises(ValueError, match=message):
        PoseEstimator.open(tiny_bundle, device="cpu")(image)


@pytest.mark.parametrize("boxes", [[[0, 0, 1e308, 1e308]], [[-1e9, 0, 5, 5]], [["0", "0", "5", "5"]], "all"])
def test_boxes_that_no_image_has_are_refused(boxes, image, tiny_bundle: Path) -> None:
    with pytest.raises(ValueError, match="expected px within|expected numbers"):
        PoseEstimator.open(tiny_bundle, device="cpu")(image, boxes)


def test_a_manifest_that_is_of_another_graph_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    manifest = tmp_path / "bundle" / "bundle.json"
    content = json.loads(manifest.read_text())
    content["pose"]["input_size"] = [4096, 4096]
    manifest.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"takes crops of \(64, 64\) and finds 17 joints on \(16, 16\) cells"):
        PoseEstimator.open(tmp_path / "bundle", device="cpu")


def test_a_manifest_with_other_names_than_the_graph_s_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    manifest = tmp_path / "bundle" / "bundle.json"
    content = json.loads(manifest.read_text())
    content["input"]["name"] = "images"
    manifest.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="maps 'crops' to 'heatmaps', but the manifest says 'images' to 'heatmaps'"):
        PoseEstimator.open(tmp_path / "bundle", "fp32", "cpu")

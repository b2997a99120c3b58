from pathlib import Path

import numpy as np
import pytest

from lehrnet.runtime.inputs import device_index
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
    with pytest.raises(ValueError, match=r"maps \['x'\] to \['y'\], expected \['crops'\]"):
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

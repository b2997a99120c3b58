from pathlib import Path

import pytest

from lehrnet.runtime.backends import library_path
from lehrnet.runtime.session import open_session


@pytest.fixture
def no_library(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.delenv(library_path.ENVIRONMENT, raising=False)
    monkeypatch.setattr(library_path, "BESIDE", tmp_path / "none.so")
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)


def test_the_environment_comes_first_and_is_held_to_its_word(no_library, monkeypatch, tmp_path: Path) -> None:
    assert library_path.find_library() is None
    monkeypatch.setenv(library_path.ENVIRONMENT, str(tmp_path / "lib.so"))
    with pytest.raises(FileNotFoundError, match="where no file is"):
        library_path.find_library()
    (tmp_path / "lib.so").touch()
    assert library_path.find_library() == str(tmp_path / "lib.so")


def test_a_graph_for_tensorrt_s_plugin_is_refused_by_onnx_runtime_in_words(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    x, y = value("crops", onnx.TensorProto.FLOAT, [1, 3, 8, 8]), value("heatmaps", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    node = onnx.helper.make_node("EMA", ["crops"], ["heatmaps"], domain="lehrnet")
    graph = onnx.helper.make_graph([node], "ema", [x], [y])
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("lehrnet", 1)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), str(tmp_path / "ema.onnx"))
    with pytest.raises(RuntimeError, match="which TensorRT runs"):
        open_session(tmp_path / "ema.onnx", "cpu")

from pathlib import Path

import pytest

from lehrnet.runtime import operators
from lehrnet.runtime.session import open_session


@pytest.fixture
def no_library(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.delenv(operators.ENVIRONMENT, raising=False)
    monkeypatch.setattr(operators, "BESIDE", tmp_path / "none.so")
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)


def test_the_environment_comes_first_and_is_held_to_its_word(no_library, monkeypatch, tmp_path: Path) -> None:
    assert operators.operators_library() is None
    monkeypatch.setenv(operators.ENVIRONMENT, str(tmp_path / "lib.so"))
    with pytest.raises(FileNotFoundError, match="where no file is"):
        operators.operators_library()
    (tmp_path / "lib.so").touch()
    assert operators.operators_library() == str(tmp_path / "lib.so")


def test_a_graph_that_takes_our_operators_says_how_to_build_them(no_library, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    x, y = value("crops", onnx.TensorProto.FLOAT, [1, 3, 8, 8]), value("heatmaps", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    node = onnx.helper.make_node("EMA", ["crops"], ["heatmaps"], domain="lehrnet")
    graph = onnx.helper.make_graph([node], "ema", [x], [y])
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("lehrnet", 1)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), str(tmp_path / "ema.onnx"))
    with pytest.raises(RuntimeError, match="`make operators` builds them"):
        open_session(tmp_path / "ema.onnx", "cpu")


def test_a_fused_export_without_the_library_is_refused_before_anything_is_written(
    no_library, tiny_checkpoint, tmp_path: Path
) -> None:
    pytest.importorskip("onnxsim")
    from lehrnet.export import export_bundle

    with pytest.raises(ValueError, match="fp32_cpu cannot be verified here"):
        export_bundle(tiny_checkpoint, tmp_path / "bundle", precisions=["fp32_cpu"])
    assert not (tmp_path / "bundle").exists()

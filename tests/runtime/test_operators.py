from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lehrnet.runtime.backends import operators
from lehrnet.runtime.session import open_session


@pytest.fixture
def no_library(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.delenv(operators.ENVIRONMENT, raising=False)
    monkeypatch.setattr(operators, "BESIDE", tmp_path / "none.so")
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)


def test_the_environment_comes_first_and_is_held_to_its_word(no_library, monkeypatch, tmp_path: Path) -> None:
    assert operators.find_library() is None
    monkeypatch.setenv(operators.ENVIRONMENT, str(tmp_path / "lib.so"))
    with pytest.raises(FileNotFoundError, match="where no file is"):
        operators.find_library()
    (tmp_path / "lib.so").touch()
    assert operators.find_library() == str(tmp_path / "lib.so")
    assert operators.operators_library() is None  # it is no library, let alone one with operators


def test_a_graph_that_takes_our_operators_says_how_to_build_them(no_library, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    x, y = value("crops", onnx.TensorProto.FLOAT, [1, 3, 8, 8]), value("heatmaps", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    node = onnx.helper.make_node("EMA", ["crops"], ["heatmaps"], domain="lehrnet")
    graph = onnx.helper.make_graph([node], "ema", [x], [y])
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("lehrnet", 1)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), str(tmp_path / "ema.onnx"))
    with pytest.raises(RuntimeError, match="`make operators` builds it"):
        open_session(tmp_path / "ema.onnx", "cpu")


def test_a_fused_export_without_the_library_is_refused_before_anything_is_written(
    no_library, tiny_checkpoint, tmp_path: Path
) -> None:
    pytest.importorskip("onnxsim")
    from lehrnet.export import export_bundle

    with pytest.raises(ValueError, match="fp32_cpu cannot be verified here"):
        export_bundle(tiny_checkpoint, tmp_path / "bundle", precisions=["fp32_cpu"])
    assert not (tmp_path / "bundle").exists()


GROUPS, WIDTH = 2, 4
"""Of the operator below, whose maps are (2, 8, 6, 5): groups, and channels of each."""
INPUTS = {
    "map": (2, 8, 6, 5),
    "shortcut": (2, 8, 6, 5),
    "gate": (WIDTH, WIDTH, 1, 1),
    "gate_bias": (WIDTH,),
    "local": (WIDTH, 1, 3, 3),
    "local_bias": (1,),
    "scale": (WIDTH,),
    "shift": (WIDTH,),
    "mean": (WIDTH, WIDTH, 3, 3),
    "mean_bias": (WIDTH,),
}


def run_ema(
    folder: Path, shapes: dict[str, tuple[int, ...]], attributes: dict[str, Any] | None = None, dtype: type = np.float32
) -> Any:
    """The operator alone on zeros, by ONNX Runtime; `attributes` replace the usual ones."""
    onnxruntime, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    library = operators.operators_library()
    if library is None:
        pytest.skip("no liblehrnet with operators for ONNX Runtime here: `make operators` builds it")
    values = {name: np.zeros(shape, dtype if name != "map" else np.float32) for name, shape in shapes.items()}
    element = onnx.TensorProto.FLOAT
    inputs = [onnx.helper.make_tensor_value_info("map", element, list(shapes["map"]))]
    output = onnx.helper.make_tensor_value_info("out", element, None)
    weights = [onnx.numpy_helper.from_array(value, name) for name, value in values.items() if name != "map"]
    attributes = {"groups": GROUPS, "epsilon": 1e-5, **(attributes or {})}
    node = onnx.helper.make_node("EMA", list(INPUTS), ["out"], domain="lehrnet", **attributes)
    graph = onnx.helper.make_graph([node], "ema", inputs, [output], weights)
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("lehrnet", 1)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), str(folder / "ema.onnx"))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.register_custom_ops_library(library)
    session = onnxruntime.InferenceSession(str(folder / "ema.onnx"), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"map": values["map"]})[0]


def test_the_operator_takes_what_an_export_gives_it(tmp_path: Path) -> None:
    assert run_ema(tmp_path, INPUTS).shape == INPUTS["map"]
    nobody = {**INPUTS, "map": (0, 8, 6, 5), "shortcut": (0, 8, 6, 5)}
    assert run_ema(tmp_path, nobody).shape == (0, 8, 6, 5)


@pytest.mark.parametrize("name", [name for name in INPUTS if name != "map"])
def test_an_input_that_does_not_fit_the_map_is_refused_before_it_is_read(name: str, tmp_path: Path) -> None:
    whole = INPUTS[name]
    flat = (int(np.prod(whole)),) if len(whole) > 1 else (*whole, 1)
    others = [(size - 1, *whole[1:]) for size in whole[:1]] + [(*whole[:-1], whole[-1] + 1), (*whole[::-1], 1)]
    for shape in [(), (2,), (0,), (1,) * 6, flat, *others]:
        with pytest.raises(Exception, match=rf"EMA: input '{name}' has (shape|rank) .*, expected shape \("):
            run_ema(tmp_path, {**INPUTS, name: shape})


@pytest.mark.parametrize(
    "shape", [(8,), (8, 6, 5), (2, 0, 6, 5), (2, 8, 0, 5), (2, 7, 6, 5), (2, 16, 6, 5), (1, 8, 6, 5), (2, 8, 6, 5, 1)]
)
def test_a_map_of_another_shape_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"lehrnet\.EMA: .* export the graph again"):
        run_ema(tmp_path, {**INPUTS, "map": shape})


def test_weights_of_another_type_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="EMA"):
        run_ema(tmp_path, INPUTS, dtype=np.float16)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        *(({"groups": groups}, f"groups is {groups}, expected 1 to") for groups in (0, -1, 1 << 62, -(1 << 63))),
        *(({"epsilon": epsilon}, "epsilon is") for epsilon in (0.0, -1e-5, float("nan"), float("inf"))),
        ({"groups": 3}, "8 channels, which do not divide into 3 groups"),
        ({"groups": 8}, "input 'gate' has shape .*, expected shape"),
        ({"groups": 2.0}, "expected an integer 'groups'"),
        ({"epsilon": 1}, "expected an integer 'groups' and a float 'epsilon'"),
    ],
)
def test_attributes_out_of_range_are_refused(attributes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=said):
        run_ema(tmp_path, INPUTS, attributes)

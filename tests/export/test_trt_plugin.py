"""EMA as TensorRT's plugin: by TensorRT's own Python layer, over stand-ins for what is C++ in it."""

import importlib.util
import operator
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxsim")
pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")

import onnx

from lehrnet.cli import main
from lehrnet.export import export_bundle
from lehrnet.export.trt_library import TrtLibrary
from lehrnet.export.trt_plugin import PLUGIN, register_ema
from lehrnet.runtime.bundle import read_bundle


@pytest.fixture(scope="module")
def bundle(tiny_checkpoint, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("plugin") / "bundle"
    return export_bundle(tiny_checkpoint, folder, precisions=["fp16_ema"]).root


def test_the_graph_has_the_operator_in_fp16_with_weights_in_fp32(bundle: Path) -> None:
    graph = onnx.load(str(bundle / "fp16_ema.onnx")).graph
    weights = {tensor.name: tensor.data_type for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    nodes = [node for node in graph.node if node.op_type == "EMA"]
    assert nodes
    for node in nodes:
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        assert (node.domain, attributes["plugin_namespace"]) == ("lehrnet", b"lehrnet")
        assert [weights[name] for name in node.input[2:]] == [onnx.TensorProto.FLOAT] * 8
        for name in node.input[:2]:
            to = [each.i for each in makers[name].attribute if each.name == "to"]
            assert to in ([], [onnx.TensorProto.FLOAT16]), f"{node.name} reads {name} in FP32"
    assert sum(node.op_type == "Cast" for node in graph.node) == 2  # crops and heatmaps, and nothing between
    artefacts = read_bundle(bundle).artefacts
    assert artefacts["fp16_ema"].requires == ("lehrnet_plugin",)
    assert not artefacts["fp16_ema"].runs_on_cpu
    assert artefacts["fp32"].runs_on_cpu


def test_rtx_refuses_it_and_names_what_it_takes(bundle: Path) -> None:
    rtx = TrtLibrary("tensorrt_rtx", SimpleNamespace(__version__="1.7.1"))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="has no plugins, .* build fp16 or fp32"):
        rtx.add_plugins()


@pytest.mark.slow
def test_rtx_s_command_says_so(bundle: Path, capsys) -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed: make slow installs it")
    assert main(["build-engine", str(bundle), "--artefact", "fp16_ema", "--library", "tensorrt-rtx"]) == 2
    assert "has no plugins" in capsys.readouterr().err


class Number:
    """trt.IDimensionExpr, whose values are known."""

    def __init__(self, value: int) -> None:
        self.value = value

    def is_constant(self) -> bool:
        return True

    def get_constant_value(self) -> int:
        return self.value


class Names:
    """An enumeration whose every member is its name."""

    def __getattr__(self, name: str) -> str:
        return name


OPERATIONS = {"SUM": operator.add, "PROD": operator.mul, "SUB": operator.sub, "FLOOR_DIV": operator.floordiv}


@pytest.fixture(params=["tensorrt-cu12-bindings==10.16.1.11", "tensorrt-cu13-bindings==11.4.0.106"])
def tensorrt(request, tmp_path: Path, monkeypatch):
    """The real `tensorrt.plugin` over a `tensorrt` whose classes are empty."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(tmp_path), request.param]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip(f"{request.param} cannot be downloaded here")
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        archive.extractall(tmp_path)

    class Module(ModuleType):
        def __getattr__(self, name: str):
            if name.startswith("__"):
                raise AttributeError(name)
            made = type(name, (), {"__init__": lambda *_: None}) if name[:1].isupper() else name
            setattr(self, name, made)
            return made

    module: Any = Module("tensorrt")
    module.__path__ = [str(tmp_path / "tensorrt_bindings")]
    module.IDimensionExpr = Number
    module.DataType, module.DimensionOperation, module.PluginFieldType = Names(), Names(), Names()
    module.Logger = type("Logger", (), {"WARNING": 1, "log": lambda *_: None})
    creators: dict[str, object] = {}
    registry = SimpleNamespace(
        register_creator=lambda creator, namespace: creators.setdefault(namespace, creator),
        get_creator=lambda name, version, namespace: creators[namespace],
    )
    module.get_plugin_registry = lambda: registry
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorrt"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    yield module
    for name in [name for name in sys.modules if name.startswith("tensorrt.")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.slow
def test_tensorrt_s_own_layer_takes_it_and_its_launch_is_ours(tensorrt) -> None:
    trtp = importlib.import_module("tensorrt.plugin")
    register_ema(tensorrt, trtp, b"some PTX")
    register_ema(tensorrt, trtp, b"some PTX")  # once more is fine
    definition = importlib.import_module("tensorrt.plugin._lib").QDP_REGISTRY[PLUGIN]
    tensors = importlib.import_module("tensorrt.plugin._tensor")
    builder = SimpleNamespace(constant=Number, operation=lambda kind, a, b: Number(OPERATIONS[kind](a.value, b.value)))
    tensors.SymIntExpr._exprBuilder = builder

    def described(*shape: int, half: bool = False):
        description = tensors.TensorDesc.__new__(tensors.TensorDesc)
        shapes = [tensors.ShapeExpr(Number(size)) for size in shape]
        dtype = tensorrt.DataType.HALF if half else tensorrt.DataType.FLOAT
        return SimpleNamespace(shape_expr=shapes, dtype=dtype, like=lambda: description)

    maps, gate = described(3, 64, 32, 24, half=True), described(2, 2, 1, 1)
    inputs = [maps, maps, gate, *[described(2)] * 7]
    assert definition.register_func(*inputs, 32, 1e-5) is not None
    name, ptx, launch, numbers = definition.aot_impl_func(*inputs, 32, 1e-5, (maps,), 0)
    assert (name, ptx) == ("lehrnet_ema_fp16", b"some PTX")
    values = {side: getattr(launch, side)._expr.value for side in ("grid_x", "grid_y", "block_x", "shared_mem")}
    assert values == {"grid_x": 32, "grid_y": 3, "block_x": 256, "shared_mem": 4 * 2 * (32 * 24 + 2 * (32 + 24))}
    found = [number._expr.value for number in numbers]
    assert found[:4] == [2, 32, 24, 0]
    assert np.array(found[4], np.int32).view(np.float32) == np.float32(1e-5)
    assert all(isinstance(number, tensors.SymInt32) for number in numbers)
    assert isinstance(launch, tensors.KernelLaunchParams)

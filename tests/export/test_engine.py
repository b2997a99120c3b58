import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("onnxsim")

from lehrnet.cli import main
from lehrnet.export.trt_library import Settings, TrtLibrary
from lehrnet.runtime.bundle import open_bundle


class Recorder:
    """Takes every attribute and call, and remembers both."""

    calls: list[tuple]

    def __init__(self) -> None:
        self.__dict__["calls"] = []

    def __getattr__(self, name: str):
        return lambda *arguments: self.calls.append((name, *arguments))

    def __setattr__(self, name: str, value) -> None:
        self.calls.append((name, value))


def library(name, version: str) -> TrtLibrary:
    names = SimpleNamespace
    module = names(
        __version__=version,
        NetworkDefinitionCreationFlag=names(STRONGLY_TYPED=1),
        BuilderFlag=names(VERSION_COMPATIBLE="version", GPU_FALLBACK="fallback"),
        MemoryPoolType=names(WORKSPACE="workspace"),
        HardwareCompatibilityLevel=names(AMPERE_PLUS="ampere"),
        DeviceType=names(DLA="dla"),
        ComputeCapability=names(SM75=0, SM80=1, SM86=2, SM120=3, CURRENT=9),
    )
    return TrtLibrary(name, module)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "version", "flags"),
    [("tensorrt", "10.16.1", 2), ("tensorrt", "11.4.0", 0), ("tensorrt_rtx", "1.7.1", 0)],
)
def test_networks_are_strongly_typed_in_each_library_s_way(name, version: str, flags: int) -> None:
    builder = Recorder()
    library(name, version).network(builder)
    assert builder.calls == [("create_network", flags)]


def test_a_library_without_types_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"TensorRT 8\.6\.1 is too old"):
        library("tensorrt", "8.6.1")


def test_settings_reach_tensorrt() -> None:
    config = Recorder()
    settings = Settings(workspace_mib=3, hardware="ampere_plus", version_compatible=True, dla_core=1)
    library("tensorrt", "10.16.1").configure(config, settings)
    assert config.calls == [
        ("set_flag", "version"),
        ("set_memory_pool_limit", "workspace", 3 << 20),
        ("hardware_compatibility_level", "ampere"),
        ("default_device_type", "dla"),
        ("DLA_core", 1),
        ("set_flag", "fallback"),
    ]


def test_rtx_is_built_for_ampere_and_later_or_for_what_is_asked() -> None:
    config = Recorder()
    library("tensorrt_rtx", "1.7.1").configure(config, Settings())
    assert config.calls == [
        ("num_compute_capabilities", 3),
        ("set_compute_capability", 1, 0),
        ("set_compute_capability", 2, 1),
        ("set_compute_capability", 3, 2),
    ]
    config = Recorder()
    library("tensorrt_rtx", "1.7.1").configure(config, Settings(capabilities=("7.5",)))
    assert ("set_compute_capability", 0, 0) in config.calls


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("tensorrt_rtx", {"dla_core": 0, "timing_cache": Path("x")}, "does not support a DLA core and a timing cache"),
        (
            "tensorrt_rtx",
            {"capabilities": ("8.7",)},
            r"does not support compute capability 8\.7; it supports 7\.5, 8\.0, 8\.6, 12\.0",
        ),
        ("tensorrt", {"capabilities": ("8.6",)}, "builds for the GPU it runs on"),
    ],
)
def test_what_a_library_lacks_is_refused(name, settings: dict, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        library(name, "11.0").check(Settings(**settings))


@pytest.mark.parametrize("batches", [(), (0, 1), (4, 2), (1, 1)])
def test_batches_that_do_not_grow_are_refused(batches: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected growing whole numbers"):
        Settings(batches=batches)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--batches", "8,1"], "expected growing whole numbers"),
        (["--batches", "few"], "expected growing whole numbers"),
        (["--workspace", "0"], "expected at least 1"),
        (["--library", "tensorrt"], "no TensorRT here"),
    ],
)
def test_bad_input_is_named(arguments: list[str], reason: str, tiny_bundle: Path, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_bindings", None)
    assert main(["build-engine", str(tiny_bundle), *arguments]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.slow
def test_an_engine_is_entered_into_the_bundle(tiny_bundle: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed: make slow installs it")
    root = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, root)
    options = ["--library", "tensorrt-rtx", "--artefact", "fp32"]
    assert main(["build-engine", str(root), *options, "--batches", "1,4", "--capabilities", "8.9", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "fp32_tensorrt_rtx"
    artefact = open_bundle(root).artefacts["fp32_tensorrt_rtx"]
    assert artefact.batches == (1, 4)
    assert artefact.built_for is not None
    assert artefact.built_for.compute_capabilities == ("8.9",)
    assert artefact.graph_sha256 == open_bundle(root).artefacts["fp32"].sha256
    assert "INFO" in (root / "fp32_tensorrt_rtx.log").read_text()
    for arguments, reason in (
        ([*options, "--capabilities", "8.7"], "does not support compute capability 8.7"),
        (["--library", "tensorrt-rtx", "--artefact", "weights"], "expected an ONNX graph"),
        (["--library", "tensorrt-rtx", "--artefact", "int4"], "has no 'int4'"),
        ([*options, "--dla-core", "0"], "does not support a DLA core"),
    ):
        assert main(["build-engine", str(root), *arguments]) == 2
        assert reason in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("wheel", ["tensorrt-cu12-bindings==10.16.1.11", "tensorrt-cu13-bindings==11.4.0.106"])
def test_every_name_is_one_of_the_real_bindings(wheel: str, tmp_path: Path) -> None:
    """The library itself doesn't install here, so the bindings can't be imported: their names stand in the file.

    It keeps one text for "IBuilder" and "Builder", so that only a name's end is sure.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(tmp_path), wheel]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip(f"{wheel} cannot be downloaded here")
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        content = archive.read("tensorrt_bindings/tensorrt.so")
    names = {*BUILDING, *TENSORRT, *SESSION}
    if "==11" in wheel:
        names -= {"STRONGLY_TYPED"}
    assert [name for name in sorted(names) if name.encode() + b"\0" not in content] == []


BUILDING = (
    *("ILogger", "Builder", "OnnxParser", "IProgressMonitor", "BuilderFlag", "NetworkDefinitionCreationFlag"),
    *("create_network", "parse_from_file", "get_error", "desc", "num_errors", "create_builder_config"),
    *("create_optimization_profile", "set_shape", "add_optimization_profile", "build_serialized_network"),
    *("num_inputs", "get_input", "num_layers", "set_flag", "VERSION_COMPATIBLE", "progress_monitor"),
)
"""What export/engine.py and export/trt_library.py use of any of them."""
TENSORRT = (
    *("STRONGLY_TYPED", "set_memory_pool_limit", "WORKSPACE", "MemoryPoolType", "HardwareCompatibilityLevel"),
    *("AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY", "hardware_compatibility_level", "default_device_type", "DLA_core"),
    *("DeviceType", "GPU_FALLBACK", "create_timing_cache", "set_timing_cache", "get_timing_cache", "serialize"),
)
"""What only TensorRT 10 and 11 need."""
SESSION = (
    *("Runtime", "deserialize_cuda_engine", "create_execution_context", "set_optimization_profile_async"),
    *("set_input_shape", "set_tensor_address", "execute_async_v3", "Logger"),
)
"""What runtime/cuda/tensorrt.py uses."""


@pytest.mark.slow
def test_rtx_has_every_name_too() -> None:
    trt = pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed: make slow installs it")
    classes = (trt, trt.Builder, trt.INetworkDefinition, trt.OnnxParser, trt.IBuilderConfig, trt.IOptimizationProfile)
    classes += (trt.BuilderFlag, trt.Runtime, trt.ICudaEngine, trt.IExecutionContext, trt.ParserError)
    known = {name for each in classes for name in dir(each)}
    assert {*BUILDING, *SESSION} - known == set()

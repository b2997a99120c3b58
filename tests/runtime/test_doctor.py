import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lehrnet.cli import main
from lehrnet.runtime import doctor
from lehrnet.runtime.bundle import read_bundle, write_manifest


def test_every_backend_is_examined_and_what_is_missing_has_a_fix() -> None:
    findings = {finding.name: finding for finding in doctor.examine()}
    assert findings.keys() >= {"ONNX Runtime, CPU", "ONNX Runtime, CUDA", "PyTorch", "GPU", "TensorRT", "TensorRT-RTX"}
    assert all(finding.works or finding.fix for finding in findings.values())
    assert all(finding.found for finding in findings.values())


def test_a_library_that_breaks_as_it_loads_is_a_finding(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    finding = next(each for each in doctor.examine() if each.name == "ONNX Runtime, CPU")
    assert not finding.works
    assert "pip install 'lehrnet[cpu]'" in finding.fix


def test_a_bundle_s_files_are_examined(tiny_bundle: Path, capsys) -> None:
    pytest.importorskip("onnxruntime")
    assert main(["doctor", str(tiny_bundle), "--json"]) == 0
    findings = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert findings["bundle: fp32"]["works"]
    assert main(["doctor", str(tiny_bundle)]) == 0
    assert "bundle: fp32" in capsys.readouterr().out


def with_fp32_as(bundle: Path, copy: Path, **facts: Any) -> Path:
    """A copy of a bundle whose manifest says something else of `fp32`."""
    shutil.copytree(bundle, copy)
    found = read_bundle(copy)
    write_manifest(replace(found, artefacts={**found.artefacts, "fp32": replace(found.artefacts["fp32"], **facts)}))
    return copy


@pytest.mark.parametrize(
    ("requires", "works", "fix"),
    [
        ("lehrnet_plugin", False, "lehrnet build-engine"),
        ("bf16", False, "lehrnet build-engine"),
        (None, True, ""),
    ],
)
def test_a_graph_works_where_what_its_manifest_requires_is_there(
    requires: str | None, works: bool, fix: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    bundle = with_fp32_as(tiny_bundle, tmp_path / "bundle", requires=(requires,) if requires else ())
    found = next(each for each in doctor.examine_bundle(bundle) if each.name == "bundle: fp32")
    assert found.works == works
    assert fix in found.fix
    assert bool(found.fix) == bool(fix)


def test_without_any_backend_the_check_fails(monkeypatch, capsys) -> None:
    for module in ("onnxruntime", "torch", "tensorrt", "tensorrt_rtx", "tensorrt_bindings", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("lehrnet.runtime.doctor.find_library", lambda: None)
    assert main(["doctor"]) == 1
    assert "pip install" in capsys.readouterr().out


def test_a_missing_bundle_is_named(tmp_path: Path, capsys) -> None:
    assert main(["doctor", str(tmp_path)]) == 2
    assert "no bundle at" in capsys.readouterr().err

import json
import sys
from pathlib import Path

import pytest

from lehrnet.cli import main
from lehrnet.runtime import doctor


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


def test_without_any_backend_the_check_fails(monkeypatch, capsys) -> None:
    for module in ("onnxruntime", "torch", "tensorrt", "tensorrt_rtx", "tensorrt_bindings", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, module, None)
    assert main(["doctor"]) == 1
    assert "pip install" in capsys.readouterr().out


def test_a_missing_bundle_is_named(tmp_path: Path, capsys) -> None:
    assert main(["doctor", str(tmp_path)]) == 2
    assert "no bundle at" in capsys.readouterr().err

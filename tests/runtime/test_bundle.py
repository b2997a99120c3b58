import json
import shutil
from pathlib import Path

import pytest

from lehrnet.runtime.bundle import new_bundle_folder, open_bundle


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy that a test may harm."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def test_one_changed_byte_is_found(bundle: Path) -> None:
    graph = bundle / "fp32.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    with pytest.raises(ValueError, match=r"fp32\.onnx has SHA-256 .*expected"):
        open_bundle(bundle)


def test_a_truncated_artefact_is_found_by_its_size(bundle: Path) -> None:
    weights = bundle / "model.safetensors"
    size = weights.stat().st_size
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"has {size - 1} bytes, expected {size}"):
        open_bundle(bundle)


def test_a_missing_artefact_is_named(bundle: Path) -> None:
    (bundle / "fp32.onnx").unlink()
    with pytest.raises(ValueError, match=r"fp32\.onnx is missing"):
        open_bundle(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(format="lehrnet-bundle-9"), "lehrnet-bundle-9"),
        (lambda content: content.pop("pose"), "'pose'"),
        (lambda content: content["pose"].update(input_size=[100, 100]), "multiples of 32"),
        (lambda content: content["artefacts"]["fp32"].update(file="../evil.onnx"), "lies outside the bundle"),
        (lambda content: content["artefacts"]["fp32"].pop("sha256"), "sha256"),
        (lambda content: content.update(artefacts=[]), "artefacts|items"),
    ],
)
def test_a_wrong_manifest_is_refused_with_its_reason(bundle: Path, change, message: str) -> None:
    content = json.loads((bundle / "bundle.json").read_text())
    change(content)
    (bundle / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        open_bundle(bundle)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"bundle"'])
def test_a_damaged_manifest_is_refused(bundle: Path, text: str) -> None:
    (bundle / "bundle.json").write_text(text)
    with pytest.raises(ValueError, match=r"bundle\.json cannot be read"):
        open_bundle(bundle)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no bundle\.json"):
        open_bundle(tmp_path)


def test_an_absent_artefact_is_answered_with_those_that_are_there(bundle: Path) -> None:
    with pytest.raises(ValueError, match="no 'int8'; it has weights, fp32"):
        open_bundle(bundle).path("int8")


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="halfway"), new_bundle_folder(tmp_path / "bundle") as folder:
        (folder / "fp32.onnx").write_bytes(b"half")
        raise RuntimeError("halfway")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path) -> None:
    precious = tmp_path / "photos"
    precious.mkdir()
    with pytest.raises(FileExistsError, match="not a bundle"), new_bundle_folder(precious, overwrite=True):
        pass
    assert precious.is_dir()

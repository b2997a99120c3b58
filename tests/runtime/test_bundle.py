import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lehrnet.runtime.backends.onnxruntime import OnnxSession
from lehrnet.runtime.bundle import Artefact, extract, new_bundle_folder, open_bundle, read_bundle, write_manifest
from lehrnet.runtime.session import open_artefact


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
        (lambda content: content.pop("pose"), "pose is missing"),
        (lambda content: content["pose"].update(input_size=[100, 100]), "multiples of 32"),
        (lambda content: content["artefacts"]["fp32"].update(file="../evil.onnx"), "lies outside the bundle"),
        (lambda content: content["artefacts"]["fp32"].pop("sha256"), "sha256"),
        (lambda content: content.update(artefacts=[]), r"artefacts is \[\], expected an object"),
        (lambda content: content.update(trained="false"), "trained is 'false', expected true or false"),
        (lambda content: content.update(note="\x1b[31m"), r"note is '.x1b\[31m', expected a text without control"),
        (lambda content: content.update(fastest=3), "fastest is 3, expected an object"),
        (lambda content: content["input"].update(name="heatmaps"), "input and output are called 'heatmaps' and 'heat"),
        (lambda content: content["input"].update(colour_order="bgr"), "input.colour_order is 'bgr', expected 'rgb'"),
        (lambda content: content["output"].update(stride=8), "output.stride is 8, but pose.stride 4"),
        (lambda content: content["pose"].update(input_size=[64.0, 64]), r"input_size\[0\] is 64.0, expected a whole"),
        (lambda content: content["pose"].update(input_size=[64, 1 << 20]), "up to 4096"),
        (lambda content: content["pose"].update(mean=["a", 0, 0]), r"pose.mean\[0\] is 'a', expected a finite number"),
        (lambda content: content["pose"].update(padding=float("inf")), "Infinity, which is no number of JSON"),
        (lambda content: content["pose"]["skeleton"].update(name="mpii16"), "is not lehrnet's of that name"),
        (lambda content: content["pose"]["skeleton"]["joints"].reverse(), "is not lehrnet's of that name"),
        (lambda content: content["pose"]["skeleton"]["joints"].pop(), "17 sigmas for 16 joints"),
        (lambda content: content["pose"]["skeleton"].update(flip_pairs=[[1, 99]]), "flip_pairs"),
        (lambda content: content["artefacts"]["fp32"].update(sha256=None), "sha256 is None, expected a text"),
        (lambda content: content["artefacts"]["fp32"].update(sha256="abc"), "expected 64 hexadecimal digits"),
        (lambda content: content["artefacts"]["fp32"].update(bytes=-1), "expected positive"),
        (lambda content: content["artefacts"]["fp32"].update(batch=[0, None]), "expected positive"),
        (
            lambda content: content["artefacts"]["fp32"].update(built_for={"library": "this"}),
            "built_for.library is 'this'",
        ),
        (lambda content: content["artefacts"]["fp32"].update(built_for=3), "built_for is 3, expected an object"),
        (lambda content: content["artefacts"]["fp32"].update(built_for={"library": "tensorrt"}), "version is missing"),
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


def test_the_bytes_that_are_hashed_are_the_bytes_that_run(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is exchanged after the check, but before it would be loaded, is never looked at."""
    opened, graph = open_bundle(bundle), bundle / "fp32.onnx"
    content = opened.read("fp32")
    graph.write_bytes(b"exchanged")
    session = OnnxSession(graph, "cpu", content=content)
    assert session.run(np.zeros((1, 3, 64, 64), np.float32)).shape == (1, 17, 16, 16)
    with pytest.raises(ValueError, match="has 9 bytes"):
        opened.read("fp32")


def test_a_graph_whose_tensors_lie_in_other_files_is_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = pytest.importorskip("onnx")
    monkeypatch.chdir(bundle)
    model = onnx.load("fp32.onnx")
    for path in (bundle / "fp32.onnx", bundle / "w.bin"):
        path.unlink(missing_ok=True)
    onnx.save(model, "fp32.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    manifest = read_bundle(bundle)
    artefacts = {**manifest.artefacts, "fp32": Artefact.of(bundle / "fp32.onnx")}
    write_manifest(replace(manifest, artefacts=artefacts))
    with pytest.raises(ValueError, match="keeps tensors in other files, which the bundle's manifest does not name"):
        open_artefact(open_bundle(bundle), "fp32", "cpu")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"output": "whole"}, "gives keypoints of a frame's boxes, not heatmaps"),
        ({"output": "keypoints"}, "gives keypoints of crops, not heatmaps"),
        ({"requires": ("bf16",)}, "requires bf16 and runs only as an engine: lehrnet build-engine"),
    ],
)
def test_what_no_session_runs_is_refused_by_its_manifest(facts: dict, words: str, bundle: Path) -> None:
    manifest = read_bundle(bundle)
    artefact = replace(manifest.artefacts["fp32"], **facts)
    write_manifest(replace(manifest, artefacts={**manifest.artefacts, "fp32": artefact}))
    with pytest.raises(ValueError, match=words):
        open_artefact(open_bundle(bundle), "fp32", "cpu")


def test_an_older_manifest_says_its_forms_by_suffixes(bundle: Path) -> None:
    content = json.loads((bundle / "bundle.json").read_text())
    for artefact in content["artefacts"].values():
        del artefact["form"], artefact["output"], artefact["requires"]
    (bundle / "bundle.json").write_text(json.dumps(content))
    assert {name: artefact.form for name, artefact in open_bundle(bundle).artefacts.items()} == {
        "weights": "weights",
        "fp32": "graph",
    }
    content["artefacts"]["fp32"]["form"] = "engine"
    (bundle / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"fp32\.onnx cannot be engine"):
        open_bundle(bundle)


def test_a_bundle_with_a_file_of_the_user_s_is_not_replaced(bundle: Path) -> None:
    (bundle / "notes.txt").write_text("mine")
    refused = pytest.raises(FileExistsError, match=r"holds 'notes\.txt', which is no part of a bundle")
    with refused, new_bundle_folder(bundle, overwrite=True):
        pass
    assert (bundle / "notes.txt").read_text() == "mine"


def test_readers_see_a_whole_bundle_while_it_is_replaced(tiny_bundle: Path, tmp_path: Path) -> None:
    root = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, root)
    writer = threading.Thread(target=replace_often, args=(tiny_bundle, root))
    writer.start()
    while writer.is_alive():
        assert open_bundle(root).variant == open_bundle(tiny_bundle).variant
    writer.join()


def replace_often(source: Path, root: Path) -> None:
    for number in range(30):
        with new_bundle_folder(root, overwrite=True) as folder:
            shutil.copytree(source, folder, dirs_exist_ok=True)
            manifest = json.loads((folder / "bundle.json").read_text())
            (folder / "bundle.json").write_text(json.dumps({**manifest, "note": f"the {number}th"}))


class TestExtract:
    def test_the_smaller_bundle_holds_what_was_named_and_what_concerns_it(
        self, tiny_bundle: Path, tmp_path: Path
    ) -> None:
        tuned = replace(open_bundle(tiny_bundle), fastest={"a": "fp32", "b": "weights"})
        found = extract(tuned, ["fp32"], tmp_path / "small")
        assert {path.name for path in found.root.iterdir()} == {"bundle.json", "fp32.onnx"}
        assert dict(found.artefacts) == {"fp32": tuned.artefacts["fp32"]}
        assert found.fastest == {"a": "fp32"}
        assert (found.spec, found.note, found.trained) == (tuned.spec, tuned.note, tuned.trained)

    @pytest.mark.parametrize("harm", ["name", "content"])
    def test_an_unknown_name_or_a_changed_file_writes_nothing(
        self, harm: str, tiny_bundle: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(tiny_bundle, tmp_path / "bundle")
        if harm == "content":
            (tmp_path / "bundle" / "fp32.onnx").write_bytes(b"another")
        names = ["fp32"] if harm == "content" else ["fp32", "int4"]
        with pytest.raises(ValueError, match="has 7 bytes" if harm == "content" else "has no 'int4'"):
            extract(read_bundle(tmp_path / "bundle"), names, tmp_path / "small")
        assert [path.name for path in tmp_path.iterdir()] == ["bundle"]

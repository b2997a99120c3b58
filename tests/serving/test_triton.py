import json
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lehrnet.cli import main
from lehrnet.pose.skeleton import MPII16
from lehrnet.runtime.bundle import manifest_sha256, open_bundle, read_bundle, write_manifest
from lehrnet.serving.triton import read_parameters, write_repository
from lehrnet.serving.triton_config import Serving


def changed(root: Path, **facts) -> Path:
    write_manifest(replace(read_bundle(root), **facts))
    return root


def serve(*arguments: object) -> int:
    return main(["serve", "triton", *map(str, arguments)])


def test_a_repository_holds_the_bundle_whole_and_says_which_it_is(bundle: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "repository"
    assert serve(bundle, "--out", out) == 0
    assert "version 1" in capsys.readouterr().out
    assert open_bundle(out / "pose/1/bundle").artefacts == open_bundle(bundle).artefacts
    config = (out / "pose/config.pbtxt").read_text()
    assert read_parameters(config)["bundle_sha256.1"] == manifest_sha256(bundle)
    assert "dims: [ -1, 17, 3 ]" in config
    assert np.fromfile(out / "pose/warmup/one_person", "<f4").tolist() == [0, 0, 48, 64]
    assert not list(tmp_path.rglob("*.unfinished"))


def test_another_bundle_is_version_2_beside_1_and_the_same_one_is_none(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "repository"
    first = manifest_sha256(bundle)
    assert write_repository(bundle, out, Serving()).version == 1
    assert write_repository(bundle, out, Serving(instances=2)).new is False
    assert "count: 2" in (out / "pose/config.pbtxt").read_text()
    second = write_repository(changed(bundle, note="trained longer"), out, Serving())
    assert (second.version, second.new) == (2, True)
    facts = read_parameters((out / "pose/config.pbtxt").read_text())
    assert (facts["bundle_sha256.1"], facts["bundle_sha256.2"]) == (first, manifest_sha256(bundle))
    assert open_bundle(out / "pose/1/bundle").note != open_bundle(out / "pose/2/bundle").note


def test_another_model_stands_beside_it(bundle: Path, tmp_path: Path) -> None:
    write_repository(bundle, tmp_path / "repository", Serving())
    write_repository(bundle, tmp_path / "repository", Serving(name="crops", backend="onnxruntime", artefact="fp32"))
    assert {path.name for path in (tmp_path / "repository").iterdir()} == {"pose", "crops"}


def test_graphs_and_engines_are_for_their_own_backends(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "repository"
    assert serve(bundle, "--out", out, "--name", "whole", "--backend", "onnxruntime", "--artefact", "whole_fp32") == 0
    assert (out / "whole/1/model.onnx").read_bytes() == b"whole_fp32.onnx"
    assert "max_batch_size: 0" in (out / "whole/config.pbtxt").read_text()
    tensorrt = ("--name", "engine", "--backend", "tensorrt", "--artefact", "fp32_tensorrt", "--device", "cuda")
    assert serve(bundle, "--out", out, *tensorrt, "--trust-engine") == 0
    config = (out / "engine/config.pbtxt").read_text()
    assert 'profile: [ "0", "1" ]' in config
    assert "max_batch_size: 8" in config


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--artefact", "fp16"), "has no 'fp16'; it has"),
        (("--artefact", "whole_fp32"), "--backend python does not run that"),
        (("--backend", "onnxruntime"), "name it by --artefact"),
        (("--backend", "onnxruntime", "--artefact", "fp16_ema"), "requires lehrnet_plugin"),
        (("--backend", "onnxruntime", "--artefact", "int8"), "form graph, int8, gives heatmaps"),
        (("--backend", "tensorrt", "--artefact", "fp32"), "but fp32_tensorrt"),
        (("--artefact", "fp32_tensorrt"), "--trust-engine serves it"),
        (("--name", "a/b"), "name is 'a/b'"),
        (("--deadline", "1"), "at most 1 ms in all"),
        (("--instances", "0"), "instances is 0"),
    ],
)
def test_what_cannot_be_served_is_one_sentence_and_nothing_is_written(
    bundle: Path, tmp_path: Path, capsys, arguments, words: str
) -> None:
    assert serve(bundle, "--out", tmp_path / "repository", *arguments) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "repository").exists()


def test_a_folder_that_is_no_repository_is_left_alone(bundle: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "a.jpg").write_text("a picture")
    assert serve(bundle, "--out", tmp_path / "photographs") == 2
    assert "'a.jpg', which is no model of Triton's" in capsys.readouterr().err
    assert serve(bundle, "--out", tmp_path / "photographs" / "a.jpg") == 2
    assert "is a file" in capsys.readouterr().err
    foreign = tmp_path / "repository" / "pose"
    foreign.mkdir(parents=True)
    (foreign / "config.pbtxt").write_text('backend: "onnxruntime"\n')
    assert serve(bundle, "--out", tmp_path / "repository") == 2
    assert "lehrnet did not write" in capsys.readouterr().err


def test_versions_have_one_backend_and_one_skeleton(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "repository"
    write_repository(bundle, out, Serving())
    with pytest.raises(ValueError, match="served by python, not by onnxruntime"):
        write_repository(bundle, out, Serving(backend="onnxruntime", artefact="fp32"))
    changed(bundle, spec=replace(read_bundle(bundle).spec, skeleton=MPII16))
    with pytest.raises(ValueError, match="finds 17 joints of coco17.*16 of mpii16"):
        write_repository(bundle, out, Serving())


def test_a_damaged_bundle_is_not_served(bundle: Path, tmp_path: Path, capsys) -> None:
    (bundle / "fp32.onnx").write_bytes(b"cut")
    assert serve(bundle, "--out", tmp_path / "repository") == 2
    assert "fp32.onnx has 3 bytes" in capsys.readouterr().err


def test_names_of_a_bundle_cannot_write_lines_of_the_configuration(bundle: Path, tmp_path: Path) -> None:
    changed(bundle, variant='mine\nbackend: "evil"', names=('a"\nb', "c"))
    write_repository(bundle, tmp_path / "repository", Serving(backend="onnxruntime", artefact="fp32"))
    config = (tmp_path / "repository/pose/config.pbtxt").read_text()
    assert not [line for line in config.splitlines() if line.startswith(('backend: "evil"', "b"))][1:]
    assert json.dumps('a"\nb') in config


@pytest.mark.slow
def test_kills_leave_versions_that_are_whole(bundle: Path, tmp_path: Path) -> None:
    out, moments = tmp_path / "repository", random.Random(0)
    command = [sys.executable, "-m", "lehrnet", "serve", "triton", str(bundle), "--out", str(out)]
    started = time.monotonic()
    subprocess.run(command, check=True, timeout=60)
    length = time.monotonic() - started
    for number in range(10):
        changed(bundle, note=f"number {number}")
        process = subprocess.Popen(command)
        time.sleep(moments.uniform(0.5, 1.05) * length)
        process.kill()
        process.wait()
        facts = read_parameters((out / "pose/config.pbtxt").read_text())
        for version in out.glob("pose/[0-9]*"):
            assert open_bundle(version / "bundle").artefacts
            assert manifest_sha256(version / "bundle") == facts[f"bundle_sha256.{version.name}"]
    changed(bundle, note="the last one")
    subprocess.run(command, check=True, timeout=60)
    assert not list(out.rglob("*.unfinished"))

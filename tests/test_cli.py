"""Every command with good and with bad input; bad input ends in one clear line, exit code 2 and no files."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lehrnet.cli import COMMANDS, JOBS, main
from lehrnet.runtime.bundle import Artefact, open_bundle, write_manifest


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must fail, and return its one line of error."""
    assert main([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("lehrnet: error: ")
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_help_has_an_example_of_every_command(command: str, capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"lehrnet {command} " in capsys.readouterr().out.partition("example:")[2]


def test_info_gives_the_paper_figures_for_machines(capsys) -> None:
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["variant"], facts["params"], facts["macs"]) == ("lehrnet_w32", 4_136_337, 1_537_806_336)
    assert facts["paper"]["params_m"][1] == 4.2
    assert sum(stage["macs"] for stage in facts["by_stage"]) == facts["macs"]


def test_info_says_where_the_paper_differs(capsys) -> None:
    assert main(["info", "lehrnet_w32_literal"]) == 0
    text = capsys.readouterr().out
    assert "7.592" in text
    assert "4.40 M" in text


def test_info_refuses_an_unknown_network(capsys) -> None:
    assert "there are lehrnet_w32" in failure(capsys, "info", "resnet50")


def test_a_checkpoint_goes_through_export_verify_and_predict(
    tiny_bundle: Path, data_folder: Path, tmp_path: Path, capsys
) -> None:
    bundle, out = tmp_path / "bundle", tmp_path / "out"
    assert main(["export", str(tiny_bundle / "model.safetensors"), "--out", str(bundle)]) == 0
    assert "ok" in capsys.readouterr().out
    assert main(["verify", str(bundle), "--data", str(data_folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["crops"] == 2
    labels = str(data_folder / "person_keypoints.json")
    assert main(["predict", str(bundle), str(data_folder / "images"), "--boxes", labels, "--out", str(out)]) == 0
    assert "3 people in 2 images" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["000000000001.jpg", "000000000002.jpg", "keypoints.json"]


@pytest.mark.parametrize("model", ["", "model.safetensors", "fp32.onnx"])
def test_a_bundle_a_checkpoint_and_an_onnx_file_score_alike(
    model: str, tiny_bundle, data_folder, tmp_path, capsys
) -> None:
    results = tmp_path / "results.json"
    arguments = ["--data", str(data_folder), "--device", "cpu", "--keypoints", str(results), "--json"]
    assert main(["evaluate", str(tiny_bundle / model), *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["metric"], found["people"], found["boxes"]) == ("OKS AP", 3, "gt")
    assert found["figures"]["AP(L)"] is None  # nobody is large
    assert len(json.loads(results.read_text())) == 2  # two people share a box: one is suppressed


def test_predict_prints_coco_results(tiny_bundle: Path, data_folder: Path, capsys) -> None:
    image = data_folder / "images" / "000000000001.jpg"
    assert main(["predict", str(tiny_bundle), str(image), "--json", "--flip", "--device", "cpu"]) == 0
    assert len(json.loads(capsys.readouterr().out)[0]["keypoints"]) == 51


def test_verify_fails_when_the_graph_is_not_the_weights(tiny_bundle: Path, tmp_path: Path, capsys) -> None:
    """One joint's bias is off by a hundredth; the manifest's hash is the file's, so that only running it tells."""
    import onnx

    bundle = open_bundle(shutil.copytree(tiny_bundle, tmp_path / "other"))
    path = bundle.path("fp32")
    model = onnx.load(str(path))
    (head,) = (node for node in model.graph.node if model.graph.output[0].name in node.output)
    (bias,) = (array for array in model.graph.initializer if array.name == head.input[2])
    values = onnx.numpy_helper.to_array(bias).copy()
    values[0] += 0.01
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    onnx.save(model, str(path))
    written = Artefact.of(path)
    entry = replace(bundle.artefacts["fp32"], sha256=written.sha256, bytes=written.bytes)
    write_manifest(replace(bundle, artefacts={**bundle.artefacts, "fp32": entry}))
    assert main(["verify", str(bundle.root)]) == 1
    assert "FAILED" in capsys.readouterr().out
    assert main(["verify", str(tiny_bundle)]) == 0
    assert "FAILED" not in capsys.readouterr().out


class TestBadInput:
    def test_no_checkpoint_to_export(self, tmp_path: Path, capsys) -> None:
        assert "no checkpoint at" in failure(capsys, "export", tmp_path / "none.safetensors", "--out", tmp_path / "b")
        assert list(tmp_path.iterdir()) == []

    def test_a_truncated_checkpoint(self, tiny_bundle: Path, tmp_path: Path, capsys) -> None:
        cut = tmp_path / "cut.safetensors"
        cut.write_bytes((tiny_bundle / "model.safetensors").read_bytes()[:5000])
        assert "not a whole safetensors file" in failure(capsys, "export", cut, "--out", tmp_path / "bundle")
        assert not (tmp_path / "bundle").exists()

    def test_joints_that_do_not_match(self, tiny_bundle: Path, tmp_path: Path, capsys) -> None:
        weights = tiny_bundle / "model.safetensors"
        error = failure(capsys, "export", weights, "--joints", 16, "--out", tmp_path / "bundle")
        assert "has 17 joints, expected 16" in error
        assert list(tmp_path.iterdir()) == []

    def test_an_output_that_cannot_be_written(
        self, tiny_bundle: Path, data_folder: Path, tmp_path: Path, capsys
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        weights, image = tiny_bundle / "model.safetensors", data_folder / "images" / "000000000001.jpg"
        assert "cannot write" in failure(capsys, "export", weights, "--out", tmp_path / "file" / "bundle")
        assert "cannot write" in failure(capsys, "predict", tiny_bundle, image, "--out", tmp_path / "file" / "out")
        assert (tmp_path / "file").read_text() == "in the way"

    def test_a_bundle_with_one_byte_changed(self, tiny_bundle: Path, data_folder: Path, tmp_path: Path, capsys) -> None:
        harmed = shutil.copytree(tiny_bundle, tmp_path / "harmed")
        graph = harmed / "fp32.onnx"
        content = graph.read_bytes()
        graph.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert "SHA-256" in failure(capsys, "verify", harmed)
        image = data_folder / "images" / "000000000001.jpg"
        assert "SHA-256" in failure(capsys, "predict", harmed, image, "--out", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_files_that_are_not_there(self, tiny_bundle: Path, tmp_path: Path, capsys) -> None:
        assert "no bundle at" in failure(capsys, "verify", tmp_path)
        assert "no image at" in failure(capsys, "predict", tiny_bundle, tmp_path / "a.jpg")
        assert "is not a COCO data folder" in failure(capsys, "verify", tiny_bundle, "--data", tmp_path)

    @pytest.mark.parametrize(
        ("boxes", "message"),
        [
            ([[0, 0, float("nan"), 9]], "box 0 is"),
            ([[0, 0, -5, 9]], "x1 < x2"),
            ([[3, 3, 3, 9]], "x1 < x2"),
            ([[1, 2, 3]], "shape (1, 3)"),
        ],
    )
    def test_bad_boxes(self, boxes, message: str, tiny_bundle: Path, data_folder: Path, tmp_path: Path, capsys) -> None:
        (tmp_path / "boxes.json").write_text(json.dumps(boxes))
        image = data_folder / "images" / "000000000001.jpg"
        out = tmp_path / "out"
        error = failure(capsys, "predict", tiny_bundle, image, "--boxes", tmp_path / "boxes.json", "--out", out)
        assert message in error
        assert not out.exists()

    def test_an_image_that_does_not_decode(self, tiny_bundle: Path, tmp_path: Path, capsys) -> None:
        (tmp_path / "a.jpg").write_text("no picture")
        error = failure(capsys, "predict", tiny_bundle, tmp_path / "a.jpg", "--out", tmp_path / "out")
        assert "is not an image that lehrnet reads" in error
        assert not (tmp_path / "out").exists()


class TestInputsAreNotWrittenOver:
    @pytest.fixture
    def checkpoint(self, tiny_bundle: Path, tmp_path: Path) -> Path:
        shutil.copy(tiny_bundle / "model.safetensors", tmp_path / "mine.safetensors")
        return tmp_path / "mine.safetensors"

    def test_finetune(self, checkpoint: Path, data_folder: Path, tmp_path: Path, capsys) -> None:
        before = checkpoint.read_bytes()
        (tmp_path / "link").symlink_to(checkpoint)
        labels = data_folder / "person_keypoints.json"
        calibration = ["--calibration", str(data_folder)]
        for out in (checkpoint, tmp_path / "link", labels):
            error = failure(capsys, "finetune", checkpoint, *calibration, "--out", out)
            assert f"--out {out} would overwrite one of the inputs" in error
        arguments = ("finetune", checkpoint, *calibration, "--out", tmp_path / "new", "--result", labels)
        assert "--result" in failure(capsys, *arguments)
        assert checkpoint.read_bytes() == before

    def test_verify(self, tiny_bundle: Path, data_folder: Path, capsys) -> None:
        for result in (tiny_bundle / "bundle.json", data_folder / "images" / "000000000001.jpg"):
            before = result.read_bytes()
            error = failure(capsys, "verify", tiny_bundle, "--data", data_folder, "--result", result)
            assert f"--result {result} would overwrite one of the inputs" in error
            assert result.read_bytes() == before

    def test_export(self, checkpoint: Path, capsys) -> None:
        before = checkpoint.read_bytes()
        error = failure(capsys, "export", checkpoint, "--out", checkpoint, "--overwrite")
        assert "would overwrite one of the inputs" in error
        assert checkpoint.read_bytes() == before

    def test_pack(self, data_folder: Path, capsys) -> None:
        labels = data_folder / "person_keypoints.json"
        assert "would overwrite one of the inputs" in failure(capsys, "pack", data_folder, "--out", labels)


def test_a_size_contradicts_no_checkpoint_of_ours(tiny_bundle: Path, tmp_path: Path, capsys) -> None:
    arguments = ("export", tiny_bundle / "model.safetensors", "--out", tmp_path / "bundle")
    assert "trained at 64x64; leave --size out" in failure(capsys, *arguments, "--size", "128x96")
    assert "leave --decode out" in failure(capsys, *arguments, "--decode", "dark")
    assert not (tmp_path / "bundle").exists()


def test_drawn_figures_that_move_are_evaluated_by_their_identities(tmp_path: Path, capsys) -> None:
    out = tmp_path / "moving"
    assert main(["data", "moving", "--out", str(out), "--images", "3", "--people", "2"]) == 0
    truth = str(out / "tracks.json")
    assert main(["evaluate", "--tracks", truth, truth, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (figures["idf1"], figures["switches"], figures["true_ids"]) == (1, 0, 2)
    assert "would overwrite one of the inputs" in failure(
        capsys, "evaluate", "--tracks", truth, truth, "--result", truth
    )
    assert "no file at" in failure(capsys, "evaluate", "--tracks", truth, tmp_path / "none.jsonl")


def test_every_command_stands_under_one_job_of_the_help() -> None:
    listed = [name for names in JOBS.values() for name in names]
    assert sorted(listed) == sorted(command.name for command in COMMANDS)

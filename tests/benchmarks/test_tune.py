import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxsim")

import torch

from lehrnet.benchmarks import tune
from lehrnet.benchmarks.interleave import Race
from lehrnet.cli import main
from lehrnet.export import export_bundle
from lehrnet.runtime import PoseEstimator, open_bundle
from lehrnet.runtime.devices import processor_name


@pytest.fixture(scope="module")
def forms(tiny_checkpoint, tmp_path_factory) -> Path:
    names = ["fp32_dense3", "fp32_dense0", "fp16", "fp16_dense0"]
    return export_bundle(tiny_checkpoint, tmp_path_factory.mktemp("forms") / "bundle", precisions=names).root


@pytest.fixture
def bundle(forms: Path, tmp_path: Path) -> Path:
    shutil.copytree(forms, tmp_path / "bundle")
    return tmp_path / "bundle"


def test_forms_are_equal_and_have_fewer_nodes_the_denser_they_are(forms: Path) -> None:
    measured = {name: artefact.measured for name, artefact in open_bundle(forms).artefacts.items()}
    assert all(measured[name]["parity"]["passed"] for name in ("fp32", "fp32_dense3", "fp32_dense0"))
    assert measured["fp32_dense0"]["nodes"] < measured["fp32_dense3"]["nodes"] < measured["fp32"]["nodes"]


def test_the_fastest_is_kept_and_taken(bundle: Path, image, capsys, monkeypatch) -> None:
    def rigged(subjects, reference: str, rounds: int) -> Race:
        times = {name: {"p50": 1.0 if name == "fp32_dense3" else 2.0} for name in subjects}
        return Race(times, {name: {"p50": 2.0 / times[name]["p50"]} for name in subjects})

    monkeypatch.setattr(tune, "race", rigged)
    assert main(["tune", str(bundle), "--device", "cpu", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["fastest"] == "fp32_dense3"
    assert set(facts["milliseconds"]) == {"fp32", "fp32_dense3", "fp32_dense0"}
    assert open_bundle(bundle).fastest == {processor_name(): "fp32_dense3"}
    tuned = PoseEstimator.open(bundle, "fastest", "cpu")
    assert (tuned(image).xy == PoseEstimator.open(bundle, "fp32_dense3", "cpu")(image).xy).all()


def test_forms_of_fp16_are_verified_and_compete_too(bundle: Path, capsys) -> None:
    artefacts = open_bundle(bundle).artefacts
    assert artefacts["fp16_dense0"].measured["parity"]["passed"]
    assert artefacts["fp16_dense0"].measured["nodes"] < artefacts["fp16"].measured["nodes"]
    command = ["tune", str(bundle), "--device", "cpu", "--precision", "fp16", "--batch", "1", "--rounds", "2", "--json"]
    assert main(command) == 0
    assert set(json.loads(capsys.readouterr().out)["milliseconds"]) == {"fp16", "fp16_dense0"}


def test_on_a_gpu_forms_of_pytorch_compete_too(monkeypatch) -> None:
    monkeypatch.setattr("lehrnet.model.device.choose_device", lambda name: torch.device("cuda", 0))
    assert tune._torch_forms("fp16", "cuda")[0] == "torch_fp16"
    assert "torch_fp32_dense2" in tune._torch_forms("fp32", "cuda")
    assert tune._torch_forms("int8", "cuda") == []


def test_it_really_times_them(bundle: Path, capsys) -> None:
    assert main(["tune", str(bundle), "--device", "cpu", "--batch", "1", "--rounds", "2"]) == 0
    assert "<- fastest" in capsys.readouterr().out


def test_an_untuned_bundle_says_how_to_tune_it(bundle: Path) -> None:
    with pytest.raises(ValueError, match="was not tuned for .*, but for no device: lehrnet tune"):
        PoseEstimator.open(bundle, "fastest", "cpu")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--batch", "0"], "expected at least 1"),
        (["--rounds", "0"], "expected at least 1"),
        (["--precision", "int4"], "nothing of precision 'int4'; it has fp16, fp32"),
        (["--device", "cuda:63"], "device is cuda:63|no usable CUDA"),
    ],
)
def test_bad_input_is_named(arguments: list[str], reason: str, bundle: Path, capsys) -> None:
    import re

    assert main(["tune", str(bundle), *arguments]) == 2
    assert re.search(reason, capsys.readouterr().err)
    assert open_bundle(bundle).fastest == {}


def test_what_cannot_be_opened_is_left_out_with_its_reason(bundle: Path, monkeypatch) -> None:
    original = tune.open_artefact

    def picky(bundle, name: str, *arguments, **options):
        if "dense" in name:
            raise RuntimeError("not on this machine")
        return original(bundle, name, *arguments, **options)

    monkeypatch.setattr(tune, "open_artefact", picky)
    facts = tune.tune(bundle, device="cpu", batch=1, rounds=1)
    assert facts["fastest"] == "fp32"
    assert facts["left_out"]["fp32_dense3"] == "not on this machine"
    assert "left out: not on this machine" in tune.describe(facts)

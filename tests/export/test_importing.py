"""From an ONNX file of another program to a bundle: ladder, INT8 within a budget, prediction."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxsim")
pytest.importorskip("onnxruntime")

from lehrnet.calibration.budget import Int8Choice
from lehrnet.cli import main
from lehrnet.export.foreign_graph import read_foreign
from lehrnet.export.importing import ImportOptions, import_bundle, read_import_options
from lehrnet.runtime import PoseEstimator
from lehrnet.runtime.bundle import open_bundle
from lehrnet.tests.export.foreign_models import pose_model, saved


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(pose_model(), tmp_path / "simple.onnx")


def test_a_bundle_has_what_shapes_and_words_say(model: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "words.json").write_text(json.dumps({"sigma": 3, "frame": "udp", "mean": [0.1, 0.2, 0.3]}))
    arguments = ["import", str(model), "--out", str(tmp_path / "bundle"), "--spec", str(tmp_path / "words.json")]
    assert main([*arguments, "--decode", "udp", "--sigma", "2.5", "--colour", "bgr"]) == 0
    bundle = open_bundle(tmp_path / "bundle")
    spec = bundle.spec
    assert (spec.input_size, spec.frame, spec.decode, spec.sigma) == ((64, 32), "udp", "udp", 2.5)
    assert (spec.mean, spec.skeleton.name) == ((0.3, 0.2, 0.1), "coco17")  # in RGB
    assert (bundle.variant, bundle.names, bundle.trained) == ("simple", ("image", "maps"), True)
    assert "64x32, stride 4, any batch; coco17; frame 'udp', decoded by 'udp'" in capsys.readouterr().out


def test_it_is_quantized_within_a_budget_and_climbs_the_ladder(model: Path, drawn_folder: Path, tmp_path: Path) -> None:
    arguments = ["import", str(model), "--out", str(tmp_path / "bundle"), "--precisions", "fp16,int8,int8_cpu"]
    budget = ["--calibration", str(drawn_folder), "--people", "12", "--judged", "12", "--max-oks-drop", "0.4"]
    assert main([*arguments, *budget]) == 0
    bundle = open_bundle(tmp_path / "bundle")
    assert list(bundle.artefacts) == ["fp32", "fp16", "int8", "int8_cpu"]
    choice = Int8Choice.of(bundle.artefacts["int8_cpu"].measured)
    assert choice is not None
    assert choice.units
    assert choice.int8_macs > 0
    assert bundle.artefacts["int8_cpu"].measured["judged"]["oks_drop"] <= 0.4
    assert main(["verify", str(bundle.root), "--data", str(drawn_folder)]) in (0, 1)
    image = np.random.default_rng(0).integers(0, 256, (90, 80, 3), dtype=np.uint8)
    for name in ("fp32", "int8_cpu"):
        with PoseEstimator.open(bundle.root, name, "cpu") as estimator:
            assert estimator(image).xy.shape == (1, 17, 2)


def test_a_fixed_batch_is_said_in_the_manifest_and_runs_any_number(tmp_path: Path, drawn_folder: Path) -> None:
    from onnx import helper, numpy_helper, shape_inference

    fixed = pose_model(batch=2, more=[helper.make_node("Add", ["maps", "bias"], ["shifted"])], outputs=["shifted"])
    bias = np.array([0, 1e-3], np.float32).reshape(2, 1, 1, 1)
    fixed.graph.initializer.append(numpy_helper.from_array(bias, "bias"))
    path = saved(shape_inference.infer_shapes(fixed), tmp_path / "fixed.onnx")
    options = ["--precisions", "int8_cpu", "--people", "7", "--judged", "5", "--max-oks-drop", "0.6"]
    arguments = ["import", str(path), "--out", str(tmp_path / "bundle"), *options]
    assert main([*arguments, "--calibration", str(drawn_folder)]) == 0
    assert open_bundle(tmp_path / "bundle").artefacts["int8_cpu"].batch == (2, 2)
    with PoseEstimator.open(tmp_path / "bundle", "fp32", "cpu") as estimator:
        image = np.zeros((64, 64, 3), np.uint8)
        assert len(estimator(image, np.array([[0.0, 0, 30, 60]] * 5))) == 5


def test_joints_that_nobody_named_are_asked_for(tmp_path: Path, capsys) -> None:
    model = saved(pose_model(3), tmp_path / "dog.onnx")
    assert main(["import", str(model), "--out", str(tmp_path / "bundle")]) == 2
    assert "no usual skeleton has 3 joints (COCO's has 17, MPII's 16): name the joints with" in capsys.readouterr().err
    (tmp_path / "dog.json").write_text(json.dumps({"name": "dog", "joints": ["snout", "L_Paw", "R_Paw"]}))
    skeleton = ["--skeleton", str(tmp_path / "dog.json")]
    assert main(["import", str(model), "--out", str(tmp_path / "bundle"), *skeleton]) == 0
    assert open_bundle(tmp_path / "bundle").spec.skeleton.flip_pairs == ((1, 2),)


def test_unknown_words_and_precisions_are_refused_and_nothing_is_written(model: Path, tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text('{"means": [0, 0, 0]}')
    with pytest.raises(ValueError, match="it has 'means', expected mean, std, colour"):
        read_import_options(tmp_path / "words.json")
    graph = read_foreign(model)
    with pytest.raises(ValueError, match="precisions are native_fp32; of an imported graph there are fp32, fp16"):
        import_bundle(graph, ImportOptions().spec(graph), tmp_path / "bundle", name="a", precisions=["native_fp32"])
    assert not (tmp_path / "bundle").exists()

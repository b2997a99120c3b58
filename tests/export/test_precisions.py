import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxsim")
onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
onnxruntime = pytest.importorskip("onnxruntime")

from lehrnet.calibration.budget import Budget  # noqa: E402
from lehrnet.calibration.rules import broken_rules  # noqa: E402
from lehrnet.cli import main  # noqa: E402
from lehrnet.export import Calibration, export_bundle  # noqa: E402
from lehrnet.export.precisions import PrecisionWriter  # noqa: E402
from lehrnet.model import NetworkConfig, PoseNetwork  # noqa: E402
from lehrnet.model.checkpoint import Checkpoint  # noqa: E402
from lehrnet.pose.coco import read_coco  # noqa: E402
from lehrnet.pose.pictures import read_image  # noqa: E402
from lehrnet.pose.spec import PoseSpec  # noqa: E402
from lehrnet.runtime import PoseEstimator  # noqa: E402
from lehrnet.runtime.backends.onnxruntime import open_graph  # noqa: E402
from lehrnet.runtime.bundle import open_bundle  # noqa: E402

ALL = ("fp32", "fp16", "bf16", "int8", "int8_cpu")
LOOSE = Budget(oks=1.0)  # random weights: keypoints mean nothing, and INT8 may move them


@pytest.fixture(scope="module")
def bundle(tiny_checkpoint, drawn_folder: Path, tmp_path_factory):
    calibration = Calibration(drawn_folder, people=16, judged=16, budget=LOOSE)
    out = tmp_path_factory.mktemp("family") / "bundle"
    untrained = replace(tiny_checkpoint, trained=False)
    return export_bundle(untrained, out, precisions=ALL, calibration=calibration, whole=True)


def test_every_precision_is_there_and_says_what_was_measured(bundle) -> None:
    assert set(ALL) < bundle.artefacts.keys()
    measured = {name: bundle.artefacts[name].measured for name in ALL}
    assert all(measured[name]["parity"]["passed"] for name in ALL if name != "bf16")
    assert measured["fp16"]["islands_by"] == "ranges"
    found = measured["int8"]["int8"]
    assert found["budget"] == {"ap": None, "oks": 1.0}
    assert found["int8_macs"] > 0.9
    assert set(found["sensitivity"]) == set(found["units"])
    assert found["units_by_budget"].keys() == {"0.002", "0.005", "0.01", "0.02"}
    assert measured["int8"]["judged"]["people"] > 4


def test_int8_is_smaller_and_keeps_tensorrt_s_rules(bundle) -> None:
    assert broken_rules(onnx.load(str(bundle.path("int8")))) == []
    assert weight_bytes(bundle.path("int8")) < 0.3 * weight_bytes(bundle.path("fp32"))
    assert weight_bytes(bundle.path("fp16")) < 0.55 * weight_bytes(bundle.path("fp32"))
    # The ranges are kept beside the bundle, for the next export.
    assert bundle.root.with_name("bundle.ranges.json").is_file()


def test_it_has_a_card_and_a_plot_for_a_person(bundle) -> None:
    card = (bundle.root / "README.md").read_text()
    assert all(word in card for word in ("Parity ladder", "int8_cpu", "Pareto", "Random weights", "chosen"))
    assert "<svg" in (bundle.root / "pareto.svg").read_text()


def test_verify_climbs_the_whole_ladder(bundle, drawn_folder: Path, capsys) -> None:
    assert main(["verify", str(bundle.root), "--data", str(drawn_folder), "--json"]) == 0
    ladder = json.loads(capsys.readouterr().out)
    assert [rung["rung"] for rung in ladder] == ["fp32", "fp16", "int8", "int8_cpu"]
    assert ladder[0]["drift"]["ap"] is not None


def test_verify_names_the_first_bad_rung(bundle, tmp_path: Path, capsys) -> None:
    import hashlib
    import shutil

    root = shutil.copytree(bundle.root, tmp_path / "bad")
    model = onnx.load(str(root / "fp16.onnx"))
    head = next(each for each in model.graph.initializer if each.name == "head.bias")
    head.raw_data = (np.frombuffer(head.raw_data, np.float16) * np.float16(1.5)).tobytes()
    onnx.save(model, str(root / "fp16.onnx"))
    manifest = json.loads((root / "bundle.json").read_text())
    facts = manifest["artefacts"]["fp16"]
    content = (root / "fp16.onnx").read_bytes()
    facts["sha256"], facts["bytes"] = hashlib.sha256(content).hexdigest(), len(content)
    (root / "bundle.json").write_text(json.dumps(manifest))
    assert main(["verify", str(root)]) == 1
    assert "first bad rung: fp16" in capsys.readouterr().out


def test_the_same_ranges_serve_again_without_data(tiny_checkpoint, bundle, tmp_path: Path, caplog) -> None:
    ranges = bundle.root.with_name("bundle.ranges.json")
    again = export_bundle(
        tiny_checkpoint, tmp_path / "again", precisions=["int8"], calibration=Calibration(ranges=ranges)
    )
    assert "no people to judge on" in caplog.text
    assert again.artefacts["int8"].measured["int8"]["int8_macs"] > 0.9


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_one_graph_equals_the_ordinary_path_on_the_same_crops(bundle, precision: str) -> None:
    measured = bundle.artefacts[f"whole_{precision}"].measured["px_from_ordinary_path"]
    assert measured["points"] < 0.01
    if precision == "fp32":
        assert measured["whole"] < 0.01


@pytest.mark.parametrize(("frame", "decode"), [("hrnet", "dark"), ("udp", "quarter")])
def test_a_network_of_hrnet_s_body_in_its_own_frame_becomes_one_graph(
    frame, decode, randomized, tmp_path: Path
) -> None:
    config = NetworkConfig(width=8, units=1, modules=(1, 1, 1), light_units=False, light_convs=False, attention=False)
    torch.manual_seed(0)
    checkpoint = Checkpoint(
        randomized(PoseNetwork(config)).eval(), PoseSpec(input_size=(64, 64), frame=frame, decode=decode)
    )
    bundle = export_bundle(checkpoint, tmp_path / "bundle", whole=True)
    measured = bundle.artefacts["whole_fp32"].measured["px_from_ordinary_path"]
    assert max(measured.values()) < 0.01
    assert open_bundle(bundle.root).spec.frame == frame


def test_ten_lines_of_onnx_runtime_run_the_whole_graph(bundle, drawn_folder: Path) -> None:
    people = read_coco(drawn_folder)
    estimator = PoseEstimator.open(bundle.root, device="cpu")
    session = open_graph(bundle.path("whole_fp32"))
    path, rows = next(people.by_image())
    image = read_image(path)
    boxes = people.boxes[rows]
    (found,) = session.run(["keypoints"], {"frame": image, "boxes": boxes.astype(np.float32)})
    poses = estimator(image, boxes)
    assert np.asarray(found).shape == (len(rows), 17, 3)
    assert np.median(np.abs(np.asarray(found)[..., :2] - poses.xy)) < 0.01
    np.testing.assert_allclose(np.asarray(found)[..., 2], poses.score, atol=1e-4)


@pytest.mark.parametrize(
    "name", ["whole_fp32", "whole_fp16", "whole_int8", "points_fp32", "points_fp16", "points_int8"]
)
def test_nobody_has_no_keypoints(bundle, name: str) -> None:
    """A detector that finds nobody gives no boxes: that is an answer, not an error."""
    session = open_graph(bundle.path(name))
    height, width = bundle.spec.input_size
    whole = {"frame": np.zeros((50, 60, 3), np.uint8), "boxes": np.zeros((0, 4), np.float32)}
    feeds = whole if name.startswith("whole") else {"crops": np.zeros((0, 3, height, width), np.float32)}
    (found,) = session.run(["keypoints"], feeds)
    assert np.asarray(found).shape == (0, 17, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["fp32", "fp16", "bf16", "int8", "whole_fp32", "whole_fp16", "whole_int8", "points_int8"]
)
def test_tensorrt_rtx_builds_it(bundle, name: str) -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed: make slow installs it")
    from lehrnet.export.engine import build_engine
    from lehrnet.export.trt_library import Log, Settings, load_library

    library = load_library("tensorrt_rtx")
    built = build_engine(bundle.path(name), Settings(batches=(1, 8), capabilities=("8.9",)), library, Log(library))
    assert len(built.content) > 100_000


class TestBadInput:
    def test_int8_without_people_says_what_to_name(self, tiny_checkpoint, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="--calibration FOLDER"):
            export_bundle(tiny_checkpoint, tmp_path / "bundle", precisions=["int8"])
        assert list(tmp_path.iterdir()) == []

    def test_fp16_without_people_takes_careful_islands(self, tiny_checkpoint, tmp_path: Path) -> None:
        found = export_bundle(tiny_checkpoint, tmp_path / "bundle", precisions=["fp16"])
        assert found.artefacts["fp16"].measured["islands_by"] == "operator"
        assert found.artefacts["fp16"].measured["parity"]["passed"]

    def test_a_budget_that_cannot_be_kept_says_what_was_reached(
        self, tiny_bundle, tiny_checkpoint, drawn_folder, tmp_path
    ) -> None:
        calibration = Calibration(drawn_folder, people=16, judged=16, budget=Budget(oks=0.0))
        family = PrecisionWriter(tiny_bundle / "fp32.onnx", tiny_checkpoint.spec, calibration, tmp_path / "ranges.json")
        with pytest.raises(ValueError, match="the closest has a drop of 0"):
            family.write("int8")

    def test_ranges_of_another_checkpoint_are_refused(self, tiny_bundle, tiny_checkpoint, bundle, tmp_path) -> None:
        path = tmp_path / "ranges.json"
        content = json.loads(bundle.root.with_name("bundle.ranges.json").read_text())
        path.write_text(json.dumps({**content, "graph": "0" * 64}))
        with pytest.raises(ValueError, match="another checkpoint"):
            PrecisionWriter(tiny_bundle / "fp32.onnx", tiny_checkpoint.spec, Calibration(ranges=path), path)

    def test_an_empty_folder_is_named(self, tiny_bundle: Path, tmp_path: Path, capsys) -> None:
        (tmp_path / "empty").mkdir()
        arguments = ["--precisions", "int8", "--calibration", str(tmp_path / "empty")]
        assert main(["export", str(tiny_bundle / "model.safetensors"), "--out", str(tmp_path / "b"), *arguments]) == 2
        assert "is not a COCO data folder" in capsys.readouterr().err
        assert not (tmp_path / "b").exists()

    def test_an_unknown_effort_is_named(self) -> None:
        with pytest.raises(ValueError, match="quick, thorough"):
            Calibration(effort="endless")


def weight_bytes(path: Path) -> int:
    """What the weights of convs take: a tiny network's file is mostly names."""
    constants = onnx.load(str(path)).graph.initializer
    return sum(len(onnx.numpy_helper.to_array(each).tobytes()) for each in constants if len(each.dims) == 4)


def test_the_bundle_reads_back(bundle) -> None:
    assert open_bundle(bundle.root) == bundle

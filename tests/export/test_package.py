import json
import re
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from lehrnet.pose.spec import PoseSpec
from lehrnet.runtime.bundle import open_bundle

pytest.importorskip("onnxsim")
onnx = pytest.importorskip("onnx")

from lehrnet.cli import main  # noqa: E402
from lehrnet.export import export_bundle, package, photograph_crops, verify_bundle  # noqa: E402
from lehrnet.export.default import default_bundle  # noqa: E402
from lehrnet.model.checkpoint import DEFAULT_WEIGHTS, load_checkpoint  # noqa: E402
from lehrnet.model.config import variant_name  # noqa: E402
from lehrnet.runtime.session import open_session  # noqa: E402

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
EXPECTED_AP = 0.27
"""Of the shipped weights, less a margin: raise it with them."""


def test_the_bundle_says_what_a_runtime_needs(tiny_bundle: Path, tiny_checkpoint) -> None:
    manifest = json.loads((tiny_bundle / "bundle.json").read_text())
    assert manifest["input"] == {"name": "crops", "layout": "NCHW", "colour_order": "rgb"}
    assert manifest["pose"]["skeleton"]["flip_pairs"][0] == [1, 2]
    assert len(manifest["pose"]["skeleton"]["sigmas"]) == 17
    assert manifest["artefacts"]["fp32"]["opset"] == 19
    assert manifest["artefacts"]["fp32"]["tools"].keys() >= {"torch", "onnx", "onnxsim"}
    bundle = open_bundle(tiny_bundle)
    assert bundle.spec == tiny_checkpoint.spec
    assert bundle.artefacts["fp32"].measured["parity"]["passed"] is True


def test_the_graph_has_a_free_batch_and_no_shape_arithmetic(tiny_bundle: Path) -> None:
    graph = onnx.load(str(tiny_bundle / "fp32.onnx")).graph
    shape = graph.input[0].type.tensor_type.shape.dim
    assert shape[0].dim_param
    assert [dim.dim_value for dim in shape][1:] == [3, 64, 64]
    assert not {node.op_type for node in graph.node} & {"Shape", "Gather", "Loop", "If", "BatchNormalization"}


def test_nodes_are_named_by_module_path(tiny_bundle: Path) -> None:
    names = [node.name for node in onnx.load(str(tiny_bundle / "fp32.onnx")).graph.node if node.op_type == "Conv"]
    assert any("stage4" in name and "branches.3" in name and "attention" in name for name in names), names[:5]


@pytest.mark.parametrize("batch", [1, 2, 7, 33])
def test_onnx_runtime_equals_pytorch_at_any_batch(batch: int, tiny_bundle: Path) -> None:
    crops = np.random.default_rng(batch).standard_normal((batch, 3, 64, 64), dtype=np.float32)
    expected, found = (
        open_session(tiny_bundle / file, "cpu").run(crops) for file in ("model.safetensors", "fp32.onnx")
    )
    assert found.shape == (batch, 17, 16, 16)
    assert np.abs(found - expected).max() <= 1e-4 * np.ptp(expected)


def test_the_proof_can_be_repeated_from_the_files(tiny_bundle: Path, data_folder: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    ladder = verify_bundle(bundle, photograph_crops(data_folder, bundle.spec))
    assert [(rung.name, rung.drift.people, rung.passed) for rung in ladder] == [("fp32", 2, True)]


def test_a_graph_that_differs_is_not_written(tiny_checkpoint, tmp_path: Path, monkeypatch) -> None:
    real = package.export_network

    def wrong(network, *arguments, **options):
        other = network.__class__(network.config).eval()
        return real(other, *arguments, **options)

    monkeypatch.setattr(package, "export_network", wrong)
    with pytest.raises(RuntimeError, match="the fp32 graph differs from its network"):
        export_bundle(tiny_checkpoint, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_precision_is_refused_before_anything_is_written(tiny_checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="int4; this version writes fp32, native_fp32"):
        export_bundle(tiny_checkpoint, tmp_path / "bundle", precisions=["int4"])
    assert list(tmp_path.iterdir()) == []


def test_an_existing_bundle_is_replaced_only_when_asked(tiny_checkpoint, tmp_path: Path) -> None:
    first = export_bundle(tiny_checkpoint, tmp_path / "bundle")
    with pytest.raises(FileExistsError, match="--overwrite"):
        export_bundle(tiny_checkpoint, first.root)
    assert export_bundle(tiny_checkpoint, first.root, overwrite=True).spec == first.spec
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_untrained_weights_are_said_to_be_untrained() -> None:
    checkpoint = package.open_checkpoint(None, untrained=True, network="lehrnet_w16", joints=16)
    assert (checkpoint.network.config.joints, checkpoint.spec.input_size) == (16, (256, 256))
    assert "random weights" in checkpoint.note
    with pytest.raises(ValueError, match="choose one"):
        package.open_checkpoint(Path("weights.safetensors"), untrained=True)


class TestShippedWeights:
    def test_they_are_the_default_network_for_coco(self) -> None:
        checkpoint = package.open_checkpoint(None)
        assert (variant_name(checkpoint.network.config), checkpoint.spec.skeleton.name) == ("lehrnet_w32", "coco17")
        assert "held-out AP" in checkpoint.note
        assert DEFAULT_WEIGHTS.stat().st_size < 10 << 20

    def test_their_card_prints_what_was_measured(self) -> None:
        """The figures of the note within the weights and of the kept result: new weights bring a new card."""
        card = DEFAULT_WEIGHTS.with_name("README.md").read_text()
        note = package.open_checkpoint(None).note
        held_out = re.search(r"held-out AP (0\.\d+) at (\d+x\d+)", note)
        assert held_out is not None
        assert f"| AP, held out | {100 * float(held_out[1]):.1f} on" in card
        assert f"crops of {held_out[2]} px, float16, {DEFAULT_WEIGHTS.stat().st_size / 1e6:.1f} MB" in card
        kept = json.loads((RESULTS / "accuracy_cpu.json").read_text())
        figures, joints = kept["figures"], kept["joints"]
        assert f"**{100 * figures['AP']:.1f}** (AP50 {100 * figures['AP50']:.1f}) on {kept['people']} people" in card
        found = {name: (joints[f"left_{name}"] + joints[f"right_{name}"]) / 2 for name in ("eye", "shoulder", "ankle")}
        for part in (f"nose {joints['nose']:.0%}", *(f"{name}s {share:.0%}" for name, share in found.items())):
            assert part in card

    def test_their_card_says_what_they_cannot_do_and_whose_they_are(self) -> None:
        card = DEFAULT_WEIGHTS.with_name("README.md").read_text()
        parts = {part.partition(".**")[0]: part for part in card.split("\n\n**")[1:]}
        assert "wrist" in parts["What it cannot do"]
        assert "Apache-2.0" in parts["Data and licence"]
        assert "CC BY 4.0" in parts["Data and licence"]

    @pytest.mark.slow
    def test_they_become_a_bundle_once(self, tmp_path: Path, monkeypatch, caplog) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        first = default_bundle()
        assert open_bundle(first).trained
        assert default_bundle() == first
        assert caplog.text.count("exporting the shipped weights") == 1

    @pytest.mark.slow
    def test_they_find_joints_on_photographs_that_they_never_saw(self, pose_samples: Path, capsys) -> None:
        assert main(["evaluate", "--data", str(pose_samples), "--flip", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["people"] == 350
        assert found["figures"]["AP"] > EXPECTED_AP
        assert found["joints"]["nose"] > found["joints"]["left_ankle"]


def test_untrained_weights_stay_untrained_whoever_exports_them(tiny_checkpoint, tmp_path: Path) -> None:
    bundle = export_bundle(replace(tiny_checkpoint, trained=False), tmp_path / "bundle")
    assert not bundle.trained
    assert not load_checkpoint(bundle.path("weights")).trained


@pytest.mark.slow
def test_the_default_network_is_exact_on_photographs(pose_samples: Path, tmp_path: Path) -> None:
    checkpoint = package.open_checkpoint(None, untrained=True)
    bundle = export_bundle(checkpoint, tmp_path / "bundle")
    assert bundle.spec == PoseSpec()
    assert bundle.artefacts["fp32"].measured["nodes"] <= 3200
    ladder = verify_bundle(bundle, islice(photograph_crops(pose_samples, bundle.spec), 15))
    assert [rung.name for rung in ladder] == list(package.default_precisions())
    for rung in ladder:
        assert (rung.parity.crops, rung.parity.joints) == (50, 850)
        assert rung.passed, rung.fault


def test_a_checkout_that_is_not_installed_exports_too(monkeypatch) -> None:
    from importlib.metadata import PackageNotFoundError, version

    from lehrnet import __version__
    from lehrnet.export import graph

    def of_the_others(name: str) -> str:
        if name == "lehrnet":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(graph, "version", of_the_others)
    assert graph.tool_versions()["lehrnet"] == __version__

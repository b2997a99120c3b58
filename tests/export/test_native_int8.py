"""`native_int8` from a checkpoint to a bundle that opens: chosen, judged, verified and tuned like every rung."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxsim")

from lehrnet.benchmarks.tune import tune
from lehrnet.calibration.budget import Budget
from lehrnet.export import Calibration, export_bundle
from lehrnet.runtime.backends.library_path import ENVIRONMENT
from lehrnet.runtime.bundle import Bundle
from lehrnet.runtime.session import open_artefact
from lehrnet.tests.runtime.embed_builds import MARKS, build

pytestmark = MARKS
LOOSE = Budget(oks=1.0)  # random weights: keypoints mean nothing, and INT8 may move them


@pytest.fixture(scope="module")
def library() -> Path:
    return build("native", targets=["lehrnet"]) / "liblehrnet.so"


@pytest.fixture
def _with_library(library: Path, monkeypatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, str(library))


@pytest.fixture(scope="module")
def bundle(library: Path, tiny_checkpoint, drawn_folder: Path, tmp_path_factory) -> Bundle:
    calibration = Calibration(drawn_folder, people=16, judged=8, budget=LOOSE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENVIRONMENT, str(library))
        out = tmp_path_factory.mktemp("int8") / "bundle"
        names = ["native_fp32", "native_int8"]
        return export_bundle(replace(tiny_checkpoint, trained=False), out, precisions=names, calibration=calibration)


@pytest.mark.usefixtures("_with_library")
def test_it_is_chosen_judged_and_verified(bundle: Bundle) -> None:
    artefact = bundle.artefacts["native_int8"]
    assert (artefact.form, artefact.precision, artefact.requires) == ("native", "int8_cpu", ("lehrnet_library",))
    chosen = artefact.measured["int8"]
    assert chosen["int8_macs"] > 0.5
    assert not {"stem", "head"}.intersection(chosen["units"])
    assert artefact.measured["judged"]["people"] >= 4
    assert artefact.measured["parity"]["passed"]
    assert artefact.bytes < 0.5 * bundle.artefacts["native_fp32"].bytes


@pytest.mark.usefixtures("_with_library")
def test_its_heatmaps_are_near_those_in_floats(bundle: Bundle) -> None:
    crops = np.random.default_rng(0).standard_normal((3, 3, *bundle.spec.input_size), dtype=np.float32)
    found, wanted = (open_artefact(bundle, name, "cpu").run(crops) for name in ("native_int8", "native_fp32"))
    assert 0 < np.abs(found - wanted).mean() < 0.02 * np.ptp(wanted)


@pytest.mark.usefixtures("_with_library")
def test_tune_races_it_with_what_is_exact(bundle: Bundle) -> None:
    found = tune(bundle.root, precision="int8_cpu", device="cpu", batch=1, rounds=1, threads=1)
    assert set(found["milliseconds"]) == {"native_int8", "native_fp32", "fp32"}


@pytest.mark.usefixtures("_with_library")
def test_without_calibration_it_is_refused(tiny_checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="native_int8 needs people to calibrate on"):
        export_bundle(tiny_checkpoint, tmp_path / "bundle", precisions=["native_int8"])
    assert list(tmp_path.iterdir()) == []

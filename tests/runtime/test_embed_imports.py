"""Networks of other programs, exported plainly: imported, quantized, the same in Python and by the C library."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from lehrnet.benchmarks.embedded import wheels_library
from lehrnet.pose.labels import read_people
from lehrnet.runtime import PoseEstimator
from lehrnet.runtime.backends.library import LibrarySession
from lehrnet.runtime.bundle import open_bundle
from lehrnet.tests.runtime.embed_builds import MARKS, dev_library

pytestmark = MARKS
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxsim")
torch = pytest.importorskip("torch")

from lehrnet.benchmarks.rivals import RIVALS  # noqa: E402
from lehrnet.cli import main  # noqa: E402

SIZE = (64, 64)


@pytest.fixture(scope="module")
def library() -> Path:
    return dev_library()


def exported(name: str, path: Path) -> Path:
    """A rival as anybody exports it: a batch of one, names of one's own; its norms fitted to noise."""
    torch.manual_seed(0)
    network = RIVALS[name]()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # pyright: ignore[reportArgumentType] - the mean of all batches
    with torch.no_grad():
        network.train()(torch.randn(8, 3, *SIZE))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = (torch.zeros(1, 3, *SIZE),)
        names = {"input_names": ["image"], "output_names": ["maps"]}
        torch.onnx.export(network.eval(), example, str(path), dynamo=False, opset_version=13, **names)  # pyright: ignore[reportArgumentType]
    return path


@pytest.mark.parametrize("name", ["simplebaseline_mobilenetv2", "lite_hrnet_18"])
def test_a_rival_comes_back_by_import(name: str, library: Path, drawn_folder: Path, tmp_path: Path) -> None:
    model = exported(name, tmp_path / "rival.onnx")
    options = ["--precisions", "int8_cpu", "--people", "8", "--judged", "4", "--max-oks-drop", "0.9"]
    arguments = ["import", str(model), "--out", str(tmp_path / "bundle"), "--calibration", str(drawn_folder)]
    assert main([*arguments, *options]) == 0
    bundle = open_bundle(tmp_path / "bundle")
    assert (bundle.names, bundle.spec.frame) == (("image", "maps"), "hrnet")
    assert bundle.artefacts["int8_cpu"].measured["int8"]["units"]
    people = read_people(drawn_folder, bundle.spec)
    path, rows = next(people.by_image())
    image, boxes = people.picture(rows[0]), people.boxes[rows]
    assert path.is_file()
    found = LibrarySession(library, bundle.root, wheels_library())(image, boxes.astype(np.float32))
    with PoseEstimator.open(bundle.root, "fp32", "cpu") as estimator:
        poses = estimator(image, boxes)
    np.testing.assert_allclose(found[..., :2], poses.xy, atol=0.01)
    np.testing.assert_allclose(found[..., 2], poses.score, atol=1e-3)
    crops = np.random.default_rng(0).standard_normal((2, 3, *SIZE), dtype=np.float32)
    rounded = LibrarySession(library, bundle.root, wheels_library(), precision="int8_cpu").run_network(crops)
    with PoseEstimator.open(bundle.root, "int8_cpu", "cpu") as estimator:
        np.testing.assert_allclose(rounded, estimator.session.run(crops), atol=1e-4)

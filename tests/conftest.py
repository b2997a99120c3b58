"""Shared inputs: a tiny network with every part of the real one, its bundle, and photographs where they are at hand."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lehrnet.pose.skeleton import COCO17

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def pose_samples() -> Path:
    """81 photographs of COCO val2017 with keypoints; not part of the product."""
    folder = SHARED / "data" / "pose_samples" / "coco"
    if not folder.is_dir():
        pytest.skip("the photographs of ../shared/data/pose_samples are not on this machine")
    return folder


@pytest.fixture
def image() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video of 30 frames of 160 x 120 px at 30 a second, each of its own grey, with a white square that moves."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 30, (160, 120))
    for number in range(30):
        image = np.full((120, 160, 3), number * 4, np.uint8)
        image[30:90, 2 * number : 2 * number + 40] = 255
        writer.write(image)
    writer.release()
    return path


@pytest.fixture(scope="session")
def tiny_checkpoint():
    """Width 8, one unit a branch, one module a stage, 64x64: every block and every EMA width ratio in a second."""
    torch = pytest.importorskip("torch")
    from lehrnet.model import NetworkConfig, PoseNetwork
    from lehrnet.model.checkpoint import Checkpoint
    from lehrnet.pose.spec import PoseSpec

    torch.manual_seed(0)
    network = randomized(PoseNetwork(NetworkConfig(width=8, units=1, modules=(1, 1, 1))))
    return Checkpoint(network.eval(), PoseSpec(input_size=(64, 64)), "a tiny network for tests")


@pytest.fixture(scope="session")
def tiny_bundle(tiny_checkpoint, tmp_path_factory) -> Path:
    """The tiny network's bundle; tests that harm it copy it first."""
    pytest.importorskip("onnxsim")
    from lehrnet.export import export_bundle

    return export_bundle(tiny_checkpoint, tmp_path_factory.mktemp("bundle") / "tiny", precisions=["fp32"]).root


@pytest.fixture(scope="session")
def native_bundle(tmp_path_factory) -> Path:
    """The shipped network, packed for our CPU engine, which needs no ONNX Runtime."""
    pytest.importorskip("torch")
    from lehrnet.export.native import NATIVE, write_native
    from lehrnet.model.checkpoint import DEFAULT_WEIGHTS, load_checkpoint
    from lehrnet.runtime.backends.library_path import find_library
    from lehrnet.runtime.bundle import Artefact, Bundle, write_manifest

    if find_library() is None:
        pytest.skip("our CPU engine is not compiled here: a C++ compiler, then `make .venv/ready`, makes it")
    checkpoint, root = load_checkpoint(DEFAULT_WEIGHTS), tmp_path_factory.mktemp("native") / "bundle"
    root.mkdir()
    path = root / f"{NATIVE}.lehrnet"
    write_native(checkpoint.network, path)
    artefact = Artefact.of(path, requires=("lehrnet_library",))
    write_manifest(Bundle(root, "lehrnet_w32", checkpoint.spec, True, "for tests", {NATIVE: artefact}))
    return root


@pytest.fixture(scope="session")
def drawn_folder(tmp_path_factory) -> Path:
    """A COCO data folder of drawn people with exact labels: enough of them to calibrate on."""
    from lehrnet.pose.synthetic import write_synthetic

    folder = tmp_path_factory.mktemp("drawn") / "data"
    assert write_synthetic(folder, 16) >= 24
    return folder


@pytest.fixture
def data_folder(tmp_path) -> Path:
    """A COCO data folder with two pictures and three people, one of them without keypoints."""
    import cv2

    rng = np.random.default_rng(1)
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for number in (1, 2):
        name = f"{number:012d}.jpg"
        cv2.imwrite(str(tmp_path / "images" / name), rng.integers(0, 256, (90, 80, 3), dtype=np.uint8))
        images.append({"id": number, "file_name": name, "height": 90, "width": 80})
    for number, image, labelled in ((1, 1, 17), (2, 2, 17), (3, 2, 0)):
        annotations.append(
            {
                "id": number,
                "image_id": image,
                "category_id": 1,
                "bbox": [10, 20, 30, 50],
                "area": 1500.0,
                "iscrowd": 0,
                "keypoints": [20, 40, 2] * labelled or [0, 0, 0] * 17,
                "num_keypoints": labelled,
            }
        )
    categories = [{"id": 1, "name": "person", "keypoints": list(COCO17.joints), "skeleton": []}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "person_keypoints.json").write_text(json.dumps(content))
    return tmp_path


def randomized(network):
    """Random norms with random statistics, so that no constant hides in a test; in place, for a fresh network."""
    from torch import nn

    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias, 0, 0.3)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.get_buffer("running_mean"), 0, 0.3)
            nn.init.uniform_(module.get_buffer("running_var"), 0.5, 2)
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias, 0, 0.3)
    return network


@pytest.fixture(name="randomized", scope="session")
def randomized_fixture():
    return randomized

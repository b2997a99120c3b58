import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lehrnet.runtime.bundle import Artefact, read_bundle, write_manifest
from lehrnet.runtime.compatibility import BuiltFor


@pytest.fixture
def another_bundle(native_bundle: Path, tmp_path: Path) -> Path:
    """The same network under another manifest: a new version."""
    root = tmp_path / "another"
    shutil.copytree(native_bundle, root)
    write_manifest(replace(read_bundle(root), note="another one"))
    return root


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> list[Path]:
    """Ten photographs where they are at hand, else ten drawings."""
    from lehrnet.pose.synthetic import write_synthetic

    photographs = Path(__file__).resolve().parents[3] / "shared" / "data" / "pose_samples" / "coco"
    if photographs.is_dir():
        return sorted(photographs.rglob("*.jpg"))[:10]
    folder = tmp_path_factory.mktemp("pictures") / "data"
    write_synthetic(folder, 10)
    return sorted((folder / "images").iterdir())[:10]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle with a whole graph, a graph of crops and an engine, whose contents are words."""
    root = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, root)
    found, added = read_bundle(root), {}
    for name, facts in {
        "whole_fp32.onnx": {"output": "whole"},
        "points_fp32.onnx": {"output": "keypoints"},
        "fp16_ema.onnx": {"precision": "fp16", "requires": ("lehrnet_plugin",)},
        "int8.onnx": {"precision": "int8"},
        "fp32_tensorrt.engine": {
            "batch": (1, 8),
            "batches": (1, 8),
            "built_for": BuiltFor("tensorrt", "10.16", ("8.7",), "Linux", "aarch64"),
        },
    }.items():
        (root / name).write_bytes(name.encode())
        added[Path(name).stem] = Artefact.of(root / name, **facts)
    write_manifest(replace(found, artefacts={**found.artefacts, **added}))
    return root

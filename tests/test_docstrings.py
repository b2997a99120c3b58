"""The examples in the docstrings of what users meet first, run as they stand."""

import doctest
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxsim")

import torch

from lehrnet.export import export_bundle
from lehrnet.export.package import open_checkpoint
from lehrnet.model import create_model
from lehrnet.pose.coco import read_coco
from lehrnet.pose.spec import PoseSpec
from lehrnet.runtime import PoseEstimator
from lehrnet.training.batches import Batches
from lehrnet.training.pack import read_pack, write_pack
from lehrnet.training.recipe import RECIPES
from lehrnet.training.trainer import Run, Trainer

NAMES = {
    "Batches": Batches,
    "Path": Path,
    "RECIPES": RECIPES,
    "Run": Run,
    "create_model": create_model,
    "export_bundle": export_bundle,
    "image": np.zeros((120, 160, 3), np.uint8),
    "open_checkpoint": open_checkpoint,
    "read_pack": read_pack,
    "replace": replace,
    "torch": torch,
}


@pytest.mark.parametrize(
    "documented", [PoseEstimator, create_model, export_bundle, Trainer], ids=lambda one: one.__name__
)
def test_the_example_runs(documented: Any, tiny_bundle: Path, data_folder: Path, tmp_path: Path, monkeypatch) -> None:
    write_pack(tmp_path / "packed", {"one": read_coco(data_folder)}, PoseSpec())
    if documented is PoseEstimator:
        (tmp_path / "bundle").symlink_to(tiny_bundle)
    monkeypatch.chdir(tmp_path)
    globs = {**NAMES, documented.__name__: documented}
    tests = doctest.DocTestFinder(recurse=False).find(documented, documented.__name__, globs=globs)
    assert [len(test.examples) for test in tests] != [0]
    said: list[str] = []
    failed = [doctest.DocTestRunner(verbose=False).run(test, out=said.append).failed for test in tests]
    assert not any(failed), "".join(said)

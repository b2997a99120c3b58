"""A tiny network under a name, and a tiny pack of two people."""

from pathlib import Path

import pytest

from lehrnet.model.config import VARIANTS, NetworkConfig
from lehrnet.pose.coco import read_coco
from lehrnet.pose.spec import PoseSpec
from lehrnet.training.pack import write_pack


@pytest.fixture(autouse=True)
def variant(monkeypatch) -> None:
    monkeypatch.setitem(VARIANTS, "tiny", NetworkConfig(width=8, units=1, modules=(1, 1, 1)))


@pytest.fixture
def packed(data_folder: Path, tmp_path: Path) -> Path:
    write_pack(tmp_path / "pack", {"one": read_coco(data_folder)}, PoseSpec(input_size=(64, 64)))
    return tmp_path / "pack"

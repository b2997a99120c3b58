"""A tiny network under a name, as the networks of plain state dicts need one."""

from pathlib import Path

import pytest

from lehrnet.model.config import VARIANTS


@pytest.fixture(autouse=True)
def variant(tiny_checkpoint, monkeypatch) -> None:
    monkeypatch.setitem(VARIANTS, "tiny", tiny_checkpoint.network.config)


@pytest.fixture(scope="module")
def network(tiny_checkpoint):
    return tiny_checkpoint.network


@pytest.fixture(scope="module")
def tiny_content(tiny_checkpoint, tmp_path_factory) -> bytes:
    """The tiny checkpoint as a file."""
    from lehrnet.model.checkpoint import save_checkpoint

    path: Path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_checkpoint(path, tiny_checkpoint)
    return path.read_bytes()

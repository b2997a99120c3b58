"""The shipped weights as a bundle in the user's cache."""

import stat
from pathlib import Path

import pytest

pytest.importorskip("onnxsim")

from lehrnet.export import default


@pytest.fixture
def cache(tiny_checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and the tiny network in place of the shipped one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(default, "load_checkpoint", lambda path: tiny_checkpoint)
    return tmp_path / "lehrnet"


def test_it_is_exported_once_and_mended_where_it_is_damaged(cache: Path, caplog) -> None:
    root = default.default_bundle()
    assert root.parent == cache
    before = (root / "bundle.json").stat().st_mtime_ns
    assert default.default_bundle() == root
    assert (root / "bundle.json").stat().st_mtime_ns == before
    (root / "fp32.onnx").write_bytes(b"damaged")
    assert default.default_bundle() == root
    assert "the cached bundle is damaged" in caplog.text
    assert (root / "fp32.onnx").stat().st_size > 1000


def test_a_cache_that_cannot_be_written_is_read(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = default.default_bundle()
    (cache / ".lock").unlink()
    cache.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert default.default_bundle() == root
        assert not (cache / ".lock").exists()
    finally:
        cache.chmod(0o700)

import zipfile
from pathlib import Path

import pytest

from lehrnet.pose.coco import read_coco
from lehrnet.pose.spec import PoseSpec
from lehrnet.training.fetched import fetch_pack
from lehrnet.training.pack import read_pack, write_pack

pytest.importorskip("fsspec")


@pytest.fixture
def pack(data_folder: Path, tmp_path: Path) -> Path:
    write_pack(tmp_path / "packed", {"one": read_coco(data_folder)}, PoseSpec())
    return tmp_path / "packed"


def test_a_pack_is_fetched_once_and_is_the_same(pack: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "store.zip", "w") as file:
        for path in pack.iterdir():
            file.write(path, f"packed/{path.name}")
    address = f"zip://packed::file://{tmp_path / 'store.zip'}"
    copy = fetch_pack(address, tmp_path / "cache")
    assert read_pack(copy).sources.tolist() == read_pack(pack).sources.tolist()
    before = copy.stat().st_ino
    assert fetch_pack(address, tmp_path / "cache").stat().st_ino == before


def test_another_pack_at_the_same_address_is_fetched_anew(pack: Path, tmp_path: Path) -> None:
    first = fetch_pack(f"file://{pack}", tmp_path / "cache")
    shard = next(pack.glob("pack_*.npz"))
    (pack / "pack_99.npz").write_bytes(shard.read_bytes())
    second = fetch_pack(f"file://{pack}", tmp_path / "cache")
    assert first != second
    assert len(read_pack(second).areas) == 2 * len(read_pack(first).areas)


@pytest.mark.parametrize("name", ["", "nothing"])
def test_what_is_no_pack_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no pack"):
        fetch_pack(f"file://{tmp_path}/{name}", tmp_path / "cache")

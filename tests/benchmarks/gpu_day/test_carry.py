import shutil
from pathlib import Path

import pytest

from lehrnet.benchmarks.gpu_day import carry as carrying
from lehrnet.benchmarks.gpu_day.carry import carry
from lehrnet.benchmarks.gpu_day.states import RESULTS, States
from lehrnet.pose.coco import read_coco
from lehrnet.pose.spec import PoseSpec
from lehrnet.training.pack import read_pack, write_pack

MIB = 1 << 20


@pytest.fixture
def pack(drawn_folder: Path, tmp_path: Path) -> Path:
    write_pack(tmp_path / "whole", {"drawn": read_coco(drawn_folder)}, PoseSpec(input_size=(64, 64)))
    return tmp_path / "whole"


@pytest.fixture
def no_wheels(monkeypatch) -> None:
    """No download in a test: the folder gets a file of a wheel's size."""

    def download(wheels, folder: Path) -> None:
        folder.mkdir()
        for number, _ in enumerate(wheels):
            (folder / f"{number}.whl").write_bytes(bytes(MIB))

    monkeypatch.setattr(carrying, "_download", download)
    monkeypatch.setattr(carrying, "checkout_size", lambda: 12 * MIB)


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    States(tmp_path / "earlier" / RESULTS).write()
    (tmp_path / "earlier" / "last.safetensors").write_bytes(bytes(2 * MIB))
    (tmp_path / "earlier" / "best.safetensors").write_bytes(bytes(2 * MIB))
    return tmp_path / "earlier"


def test_all_that_is_carried_is_counted_and_the_pack_takes_what_is_left(
    pack: Path, earlier: Path, tmp_path: Path, no_wheels: None
) -> None:
    parts = carry(tmp_path / "carried", wheels=("a", "b"), pack=pack, earlier=earlier)
    assert list(parts)[:3] == ["checkout", "wheels", "earlier"]
    assert (parts["checkout"], parts["wheels"]) == (12 * MIB, 2 * MIB)
    assert sum(parts.values()) <= carrying.LARGEST
    names = {path.name for path in (tmp_path / "carried" / "earlier").iterdir()}
    assert names == {RESULTS, "last.safetensors"}
    assert len(read_pack(tmp_path / "carried" / "pack")) == len(read_pack(pack))
    assert "in all" in carrying.table(parts)
    carry(tmp_path / "carried", wheels=(), pack=None, earlier=None)
    assert not (tmp_path / "carried" / "pack").exists()


def test_too_much_is_refused_with_what_to_leave_out(
    earlier: Path, tmp_path: Path, no_wheels: None, monkeypatch, capsys
) -> None:
    wheels = tuple(map(str, range(53)))
    with pytest.raises(ValueError, match=r"(?s)in all +67.0 MiB.*leave out --wheels \(53.0 MiB\)"):
        carry(tmp_path / "carried", wheels=wheels, pack=None, earlier=earlier)
    assert not (tmp_path / "carried").exists()
    monkeypatch.setattr(carrying, "NEEDED", wheels)
    assert carrying.main(["--out", str(tmp_path / "carried")]) == 2
    assert "leave out --wheels" in capsys.readouterr().err


def test_a_folder_of_somebody_else_is_not_replaced(tmp_path: Path, no_wheels: None) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("kept")
    with pytest.raises(FileExistsError):
        carry(tmp_path / "mine", wheels=(), pack=None, earlier=None)
    with pytest.raises(FileNotFoundError, match="has no results.json"):
        carry(tmp_path / "new", wheels=(), pack=None, earlier=tmp_path / "mine")


@pytest.mark.skipif(shutil.which("git") is None, reason="no git on this machine")
def test_the_checkout_fits_with_room_for_a_pack() -> None:
    root = Path(carrying.__file__).resolve().parents[2]
    if not (root / ".git").exists():
        pytest.skip("not a checkout")
    assert 1 * MIB < carrying.checkout_size() < 24 * MIB

import json
from pathlib import Path

import pytest

from lehrnet.cli import main


@pytest.mark.slow
@pytest.mark.parametrize("boxed", [True, False])
def test_the_demo_takes_ones_own_photographs(boxed: bool, data_folder: Path, tmp_path: Path, capsys) -> None:
    labels = ["--boxes", str(data_folder / "person_keypoints.json")] if boxed else []
    assert main(["demo", str(data_folder / "images"), *labels, "--out", str(tmp_path / "demo")]) == 0
    said = capsys.readouterr().out
    assert f"fp32  {3 if boxed else 2:6d}" in said  # people whose crops were compared
    assert len(json.loads((tmp_path / "demo" / "keypoints.json").read_text())) == (3 if boxed else 2)
    assert (tmp_path / "demo" / "000000000001.jpg").is_file()


@pytest.mark.slow
def test_the_demo_brings_its_own_photograph(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    assert (tmp_path / "demo" / "astronaut.png").is_file()

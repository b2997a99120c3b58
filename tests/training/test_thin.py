from pathlib import Path

import numpy as np
import pytest

from lehrnet.pose.coco import read_coco
from lehrnet.pose.spec import PoseSpec
from lehrnet.training.pack import read_pack, write_pack
from lehrnet.training.thin import thin_pack


@pytest.fixture
def pack(drawn_folder: Path, tmp_path: Path) -> Path:
    write_pack(tmp_path / "whole", {"drawn": read_coco(drawn_folder)}, PoseSpec(input_size=(64, 64)))
    return tmp_path / "whole"


def test_a_thin_pack_holds_as_many_people_as_fit_with_their_labels(pack: Path, tmp_path: Path) -> None:
    whole = read_pack(pack)
    size = sum(path.stat().st_size for path in pack.glob("*.npz"))
    people = thin_pack(pack, tmp_path / "thin", size // 3, quality=80)
    thin = read_pack(tmp_path / "thin")
    assert 0 < people == len(thin) < len(whole)
    assert sum(path.stat().st_size for path in (tmp_path / "thin").iterdir()) <= size // 3
    assert (thin.size, thin.skeleton) == (whole.size, whole.skeleton)
    for row in range(len(thin)):
        same = np.flatnonzero((whole.keypoints == thin.keypoints[row]).all((1, 2)))
        assert thin.areas[row] in whole.areas[same]
    with pytest.raises(ValueError, match="nobody of .* fits into 100 bytes"):
        thin_pack(pack, tmp_path / "none", 100, quality=80)
    assert not (tmp_path / "none").exists()

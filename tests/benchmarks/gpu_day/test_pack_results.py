from pathlib import Path

import numpy as np
import pytest

from lehrnet.benchmarks.gpu_day import pack_results as packing
from lehrnet.benchmarks.gpu_day.pack_results import KEEP, LARGEST_FILE, MOST_FILES, join_parts, pack_results
from lehrnet.benchmarks.gpu_day.states import RESULTS, Record, States, read_results


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    (folder / KEEP).mkdir(parents=True)
    return folder


def states(work: Path) -> States:
    return States(work / RESULTS, {"one": Record("done", 1, result={"machine": {}, "figure": 1})})


def kept(work: Path, name: str, size: int) -> bytes:
    content = np.random.default_rng(len(name)).bytes(size)
    (work / KEEP / name).write_bytes(content)
    return content


def test_a_large_file_comes_back_in_parts_that_join(work: Path, tmp_path: Path) -> None:
    large, small = kept(work, "large.bin", 2 * LARGEST_FILE + 5), kept(work, "small.bin", 100)
    assert pack_results(work, tmp_path / "out", states(work)) == []
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["large.bin.part0", "large.bin.part1", "large.bin.part2", "logs.zip", RESULTS, "small.bin"]
    assert all(path.stat().st_size <= LARGEST_FILE for path in (tmp_path / "out").iterdir())
    assert (join_parts(tmp_path / "out", "large.bin"), join_parts(tmp_path / "out", "small.bin")) == (large, small)
    with pytest.raises(FileNotFoundError, match="neither none nor its parts"):
        join_parts(tmp_path / "out", "none")


def test_never_more_than_eight_files_nor_64_mib_and_the_rest_is_named(work: Path, tmp_path: Path) -> None:
    kept(work, "a_large.bin", 61 << 20)
    for number in range(8):
        kept(work, f"b{number}.bin", 10)
    left = pack_results(work, tmp_path / "out", states(work))
    assert left == ["a_large.bin"] + [f"b{number}.bin" for number in range(6, 8)]
    paths = list((tmp_path / "out").iterdir())
    assert len(paths) == MOST_FILES
    assert sum(path.stat().st_size for path in paths) <= packing.LARGEST_ALL
    assert read_results(tmp_path / "out" / RESULTS)["left_behind"] == left


def test_a_file_in_the_making_is_left_where_it_is(work: Path, tmp_path: Path) -> None:
    from lehrnet.files import atomic_file

    kept(work, "weights", 10)
    with atomic_file(work / KEEP / "weights") as unfinished:
        unfinished.write_bytes(b"half")
        assert pack_results(work, tmp_path / "out", states(work)) == []
    assert len((tmp_path / "out" / "weights").read_bytes()) == 10
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_kept_file_that_changed_comes_back_anew(work: Path, tmp_path: Path) -> None:
    kept(work, "weights", 10)
    pack_results(work, tmp_path / "out", states(work))
    new = kept(work, "weights", 12)
    pack_results(work, tmp_path / "out", states(work))
    assert (tmp_path / "out" / "weights").read_bytes() == new


def test_of_a_log_the_end_comes_back(work: Path, tmp_path: Path) -> None:
    import zipfile

    (work / "one.log").write_bytes(b"a" * packing.LAST_WORDS + b"the end")
    pack_results(work, tmp_path / "out", states(work))
    with zipfile.ZipFile(tmp_path / "out" / packing.LOGS) as archive:
        content = archive.read("one.log")
    assert len(content) == packing.LAST_WORDS
    assert content.endswith(b"the end")

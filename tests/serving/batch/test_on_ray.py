"""`lehrnet batch` by Ray itself, where it is installed: the same results, broken pictures, kills, no report."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lehrnet.tests.serving.batch.test_local import by_name, predicted, results, rows, started, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc"),
]
RAY = ("--engine", "ray", "--workers", 2)


@pytest.fixture(autouse=True)
def _ray() -> None:
    pytest.importorskip("ray.data", reason="Ray is not installed: pip install 'lehrnet[ray]'")


@pytest.fixture
def many(data_folder: Path, tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    root.mkdir()
    shutil.copy(data_folder / "images" / "000000000001.jpg", root / "1000.jpg")
    for number in range(1, 400):
        os.link(root / "1000.jpg", root / f"{number + 1000}.jpg")
    return root


def finished(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """Exit code, output, and what we say; Ray's core has words of its own."""
    told, said = process.communicate(timeout=120)
    lines = [line for line in said.decode().splitlines(keepends=True) if "core_worker.cc" not in line]
    return process.returncode, told.decode(), "".join(lines)


def descendants(pid: int) -> dict[int, str]:
    """Processes below one, with their titles: Ray starts its own from its raylet."""
    found, parents = {}, {pid}
    listed = [path for path in Path("/proc").iterdir() if path.name.isdecimal()]
    for _ in range(4):
        for path in listed:
            try:
                status = (path / "status").read_text()
                title = (path / "cmdline").read_text()
            except OSError:
                continue
            if int(status.split("PPid:")[1].split()[0]) in parents:
                found[int(path.name)] = title
        parents = {pid, *found}
    return found


def test_ray_finds_what_predict_finds_and_a_broken_picture_costs_its_row(
    data_folder: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = data_folder / "images"
    for number in range(20):
        shutil.copy(folder / "000000000001.jpg", folder / f"{number + 10:012d}.jpg")
    (folder / "broken.png").write_text("words")
    code, told, said = finished(started(folder, tiny_bundle, tmp_path / "out", *RAY, "--part", 4))
    assert code == 1, said
    assert "23 images, 22 people, 1 errors in 6 parts" in told
    assert said == ""
    (folder / "broken.png").unlink()
    for mine, theirs in zip(
        by_name(results(tmp_path / "out")), by_name(predicted(folder, tiny_bundle, tmp_path)), strict=True
    ):
        assert mine[0] == theirs[0]
        assert mine[2] == pytest.approx(theirs[2], abs=0.01)  # px


def test_an_actor_and_then_the_driver_are_killed_and_every_picture_is_there_once(
    many: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    driver = started(many, tiny_bundle, out, *RAY, "--part", 4)
    until(lambda: len(list(out.glob("*.images.json"))) >= 3)
    below = descendants(driver.pid)
    actors = [pid for pid, title in below.items() if "MapWorker" in title]
    assert actors, below
    os.kill(actors[0], signal.SIGKILL)
    before = len(list(out.glob("*.images.json")))
    until(lambda: len(list(out.glob("*.images.json"))) >= before + 10)
    below = descendants(driver.pid)
    driver.kill()
    driver.communicate(timeout=60)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid, title in below.items() if "MapWorker" in title), 30)
    code, told, said = finished(started(many, tiny_bundle, out, *RAY, "--part", 4))
    assert code == 0, said
    assert "400 images, 400 people, 0 errors in 100 parts, " in told
    names = [row["file_name"] for row in rows(out)]
    assert len(names) == len({*names}) == 400


def test_what_an_actor_cannot_do_is_one_sentence(many: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    code, _, said = finished(started(many, tiny_bundle, tmp_path / "out", *RAY, "--device", "cuda"))
    assert code == 2
    assert said.startswith("lehrnet: error: ")
    assert "cuda" in said.lower()
    assert said.count("\n") == 1


def test_ray_reports_to_nobody(tmp_path: Path) -> None:
    code = """
import json, os
os.environ["RAY_USAGE_STATS_ENABLED"] = "1"
from lehrnet.serving.batch.on_ray import check_ray_is_there
check_ray_is_there()
from ray._common.usage import usage_lib
print(json.dumps(usage_lib.usage_stats_enabled()))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) is False

"""The site of docs/: its sources are gathered, every link leads somewhere, nothing is loaded from another host."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAGE = ROOT / "docs" / "site" / "stage.py"
FROM_ELSEWHERE = re.compile(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)="(?:https?:)?//[^"]*""")


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "source"
    subprocess.run([sys.executable, STAGE, folder], check=True)
    return folder


def test_pages_of_the_repository_and_results_are_led_to_their_places(sources: Path) -> None:
    first = (sources / "index.md").read_text()
    assert "(images/demo.jpg)" in first
    assert "(weights.md)" in first
    assert "{toctree}" in first
    assert "(results/native_cpu.json)" in (sources / "measured.md").read_text()
    assert "(../results/native_cpu.json)" in (sources / "decisions/0008-ema-as-one-operator-on-the-cpu.md").read_text()
    assert "[native_cpu](native_cpu.json)" in (sources / "results/index.md").read_text()
    assert (sources / "files/runtime/embed/include/lehrnet.h").is_file()


def test_a_link_to_nothing_stops_it(tmp_path: Path) -> None:
    led = runpy.run_path(str(STAGE))["_led"]
    assert led("see [a](../LICENSE) and [b](https://c.d)", "docs/a.md", tmp_path) == (
        "see [a](files/LICENSE) and [b](https://c.d)"
    )
    with pytest.raises(SystemExit, match=r"docs/a\.md links to none\.md, which is not in the repository"):
        led("see [a](none.md)", "docs/a.md", tmp_path)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_asks_no_other_host(sources: Path, tmp_path: Path) -> None:
    for name in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(name, reason="make site")
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", sources, tmp_path / "site"]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 30
    assert {found for page in pages for found in FROM_ELSEWHERE.findall(page.read_text())} == set()
    assert "class lehrnet.runtime.PoseEstimator" in re.sub(
        "<[^>]*>", "", (tmp_path / "site/reference/runtime.html").read_text()
    )

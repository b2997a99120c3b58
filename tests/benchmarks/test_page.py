import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("onnxsim")

from lehrnet.benchmarks import atlas
from lehrnet.benchmarks.page import write_page
from lehrnet.calibration.graph import read_graph
from lehrnet.calibration.units import total_macs
from lehrnet.cli import main
from lehrnet.model import places

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def page(tiny_bundle: Path, tmp_path_factory) -> Path:
    """A page of everything: latency and atlas of this run, the paper card and the precisions of files."""
    folder = tmp_path_factory.mktemp("page")
    spread = {"p50": 2.0, "p10": 1.9, "p90": 2.2}
    timed = {"milliseconds": spread, "speed_up": spread}
    network = {"params": 4e6, "macs": 1.5e9, "nodes": 9, "paper": {"params_m": 4.2}, "why": "", "latency": {"1": timed}}
    precision = {"bytes": 1e6, "share_of_fp32": 1.0, "nodes": 9, "int8_macs": None, "ap": 0.3}
    contents = {
        "card": {"networks": {"lehrnet_w32": network}},
        "precisions": {
            "precisions": {"fp32": precision},
            "by_batch": {"1": {"milliseconds": {"fp32": spread}, "speed_up": {"fp32": spread}}},
        },
    }
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps({"format": "lehrnet-result-1", "machine": {}, **content}))
    out = folder / "report.html"
    options = ["--batch", "1,2", "--rounds", "2", "--html", str(out), "--results"]
    assert main(["bench", str(tiny_bundle), *options, *(str(folder / f"{name}.json") for name in contents)]) == 0
    return out


def test_the_page_is_one_file_with_every_section(page: Path) -> None:
    text = page.read_text()
    titles = re.findall(r"<h2>(.*?)</h2>", text)
    assert titles == [
        "Latency against multiply-adds",
        "Accuracy against multiply-adds, by the paper",
        "Where the time goes",
        "More people at once",
        "Several streams at once",
        "Branch-time atlas and roofline",
        "Precisions",
        "On a GPU, beside the goals",
    ]
    assert text.count("not measured") >= 10
    assert text.count("<svg") >= 7
    assert not re.search(r"""(src|href)=["'](?!data:|#)(?!http://www.w3.org)""", text.replace('xlink:href="#', "="))


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
def test_a_browser_renders_it_without_a_complaint(page: Path, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--window-size=1000,3000",
    ]
    done = subprocess.run(
        [*command, f"--screenshot={picture}", f"file://{page}"], capture_output=True, text=True, timeout=120, check=True
    )
    assert "CONSOLE" not in done.stderr
    assert picture.stat().st_size > 50_000


def test_results_without_a_figure_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none of the results can be shown"):
        write_page(tmp_path / "page.html", {"empty": {}})


@pytest.fixture(scope="module")
def facts(tiny_bundle: Path):
    return atlas.measure(tiny_bundle / "fp32.onnx", batch=2)


class TestAtlas:
    def test_every_view_adds_up_to_the_whole(self, facts, tiny_bundle: Path) -> None:
        for view in ("stage", "branch", "kind"):
            rows = facts[f"by_{view}"].values()
            assert sum(row["macs"] for row in rows) == 2 * total_macs(read_graph(tiny_bundle / "fp32.onnx"))
            assert sum(row["milliseconds"] for row in rows) == pytest.approx(facts["milliseconds"], rel=0.01)

    def test_every_multiply_add_is_some_profiled_layer_s(self, facts, tiny_bundle: Path) -> None:
        """So the runtime's names were all traced back to the graph's."""
        macs = sum(row["macs"] for row in facts["layers"].values())
        assert macs == 2 * total_macs(read_graph(tiny_bundle / "fp32.onnx"))

    def test_kinds_are_the_network_s(self, facts) -> None:
        assert {"EMA", "LConv", "fusion", "Bottleneck", "stem", "transition"} <= facts["by_kind"].keys()

    def test_the_limit_is_the_sum_of_its_parts(self, facts) -> None:
        parts = sum(row["limit_milliseconds"] for row in facts["by_stage"].values())
        assert facts["limit_milliseconds"] == pytest.approx(parts, rel=0.01)
        assert min(facts["copy_gb_per_s"].values()) > 0.1
        assert facts["gmacs_per_s"] > 0.1

    @pytest.mark.parametrize(
        ("name", "place"),
        [
            (
                "/stage3/exchanges.1/branches.2/branches.2.0/pair/first_rest/Conv",
                ("stage3", "stage3 branch 2", "LConv"),
            ),
            ("/stage4/exchanges.0/branches.0/branches.0.1/attention/Mul_1", ("stage4", "stage4 branch 0", "EMA")),
            ("/stage4/exchanges.0/paths.0.1/conv/Conv", ("stage4", "stage4", "fusion")),
            ("/stage1/stage1.0/reduce/Conv", ("stage1", "stage1", "Bottleneck")),
            ("/head/Conv", ("head", "head", "head")),
            ("ReorderInput_token_7", ("layout", "layout", "layout")),
        ],
    )
    def test_a_node_s_name_tells_its_place(self, name: str, place: tuple[str, str, str]) -> None:
        assert places.place_of(name) == places.Place(*place)

import json
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from lehrnet.benchmarks.gpu_day import table
from lehrnet.benchmarks.gpu_day.states import RESULTS, Record, States, read_results
from lehrnet.benchmarks.page import write_page
from lehrnet.cli import main as lehrnet

README = Path(__file__).resolve().parents[3] / "README.md"


def times(**speeds: float) -> dict:
    return {
        "speed_up": {name: {"p50": speed} for name, speed in speeds.items()},
        "milliseconds": {name: {"p50": 8 / speed} for name, speed in speeds.items()},
    }


def drawn(folder: Path, **changes) -> Path:
    """A day as a GPU would leave it, with figures that nobody measured."""
    machine = {"gpus": [{"name": "NVIDIA H100 80GB HBM3"}], "commit": "abc"}
    by_batch = {
        batch: times(**{"eager, FP16": 1, "torch_fp16": 5, "hrnet_w32 as torch_fp16": 4}) for batch in ("1", "8", "64")
    }
    compiled = {"8": times(**{"torch.compile(mode=reduce-overhead), FP16": 2, "torch_fp16": 5})}
    ema = {f"{width} channels, float16": {"64": {"over_copy": 1.75, "over_bandwidth": 1.5}} for width in (32, 64)}
    frames = {
        count: {"people_per_s": rate, "share_of_network": 0.9, "latency_ms": {"p50": 1.25, "p90": 2}}
        for count, rate in (("1", 3000.0), ("8", 9000.0))
    }
    results = {
        "tests": {"counts": {"PASSED": 34, "SKIPPED": 1}},
        "sanitize": {"tools": {"memcheck": {"summary": "ERROR SUMMARY: 0 errors"}}},
        "kernels": {"kernels": {"ema": ema}},
        "forms": {"by_batch": by_batch},
        "compiled": {"compiled_by_batch": compiled},
        "pipeline": {"by_frames": frames},
        "speed": {"people_per_s": {"batch 128, bfloat16": {"lehrnet_w32": 2100.0}}},
        "train": {"best_ap": 0.512, "people": 4000, "place": {"elapsed_s": 900.0}},
        **changes,
    }
    records = {
        name: Record("done", 1, 5.0, result={"machine": machine, "stand_in": False, **facts})
        for name, facts in results.items()
    }
    States(folder / RESULTS, records).write()
    return folder


def test_one_command_fills_the_readme_and_keeps_the_results(tmp_path: Path, capsys) -> None:
    readme, kept = tmp_path / "README.md", tmp_path / "gpu_day.json"
    readme.write_text(README.read_text())
    folder = drawn(tmp_path / "folder")
    options = ["--readme", str(readme), "--keep", str(kept)]
    assert table.main([str(folder), *options]) == 0
    text = readme.read_text()
    rows = [line for line in text.splitlines() if line in capsys.readouterr().out or line.startswith("| ")]
    for wanted in (
        "| on NVIDIA H100 80GB HBM3 | goal | measured |",
        "| tests on the GPU | all passed | 34 passed, 1 skipped |",
        "| compute-sanitizer | 0 errors | memcheck: ERROR SUMMARY: 0 errors |",
        "| EMA as one kernel, FP16, batch 64: times of its bytes at the rate of copies | at most 2 | "
        "1.50, 1.50 by branch; of a copy of their size 1.75, 1.75 |",
        "| its speed over eager FP16 | at least 4 at batch 1 | 5.00; 5.00; 5.00 |",
        "| over HRNet-W32 in the same form | above 1 | 1.25; 1.25; 1.25 |",
        "| over `torch.compile` |  | 2.50 at batch 8 |",
        "| 1080p frames to keypoints, of the network's rate alone | at least 80% | "
        "90%: 9000 people/s; 1.25 ms for one frame |",
        "| held-out AP of `short` in 25 minutes | at least 0.55 | 0.512 after 15.0 min, 4000 people |",
    ):
        assert wanted in rows
    assert table.NOT_MEASURED not in text
    assert read_results(kept)["steps"].keys() == read_results(folder / RESULTS)["steps"].keys()
    before, after = README.read_text(), text
    assert before.partition(table.BEGIN)[0] == after.partition(table.BEGIN)[0]
    assert before.partition(table.END)[2] == after.partition(table.END)[2]


def test_a_figure_that_is_missing_is_not_measured(tmp_path: Path) -> None:
    day = read_results(drawn(tmp_path, forms={"by_batch": {}}, train={"best_ap": None}) / RESULTS)
    rows = {what: figure for what, _, figure in table.rows_of(day)}
    assert rows["held-out AP of `short` in 25 minutes"] == table.NOT_MEASURED
    assert rows["its speed over eager FP16"] == table.NOT_MEASURED
    assert rows["tests on the GPU"] != table.NOT_MEASURED
    assert {figure for *_, figure in table.rows_of(None)} == {table.NOT_MEASURED}


def test_a_rehearsal_s_figures_are_refused(tmp_path: Path, capsys) -> None:
    folder = drawn(tmp_path / "folder")
    content = json.loads((folder / RESULTS).read_text())
    for record in content["gpu_day"]["steps"].values():
        record["result"]["stand_in"] = True
    (folder / RESULTS).write_text(json.dumps(content))
    readme = tmp_path / "README.md"
    readme.write_text(f"a\n{table.BEGIN}\n{table.END}\n")
    before = readme.read_text()
    assert table.main([str(folder), "--readme", str(readme), "--keep", str(tmp_path / "kept.json")]) == 2
    assert "holds no figure of a GPU" in capsys.readouterr().err
    assert readme.read_text() == before
    assert not (tmp_path / "kept.json").exists()
    assert table.main([str(tmp_path / "none")]) == 2


def test_a_readme_without_its_place_is_refused(tmp_path: Path, capsys) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing")
    assert table.main([str(drawn(tmp_path / "folder")), "--readme", str(readme), "--keep", str(tmp_path / "k")]) == 2
    assert "no place for the table" in capsys.readouterr().err


def test_the_page_shows_the_day_beside_the_goals(tmp_path: Path) -> None:
    folder = drawn(tmp_path / "folder")
    content = json.loads((folder / RESULTS).read_text())
    write_page(tmp_path / "page.html", {"results": content})
    text = (tmp_path / "page.html").read_text()
    assert "results: NVIDIA H100 80GB HBM3" in text
    assert "<td>held-out AP of short in 25 minutes</td><td>at least 0.55</td><td>0.512 after 15.0 min" in text
    assert "not measured" not in text


@pytest.mark.skipif(table.KEPT.is_file(), reason="a GPU was measured")
def test_the_readme_says_not_measured_until_a_gpu_was(tmp_path: Path) -> None:
    assert table.fill(README.read_text(), None) == README.read_text()


@pytest.mark.slow
def test_bench_takes_the_folder_s_results(tiny_bundle: Path, tmp_path: Path) -> None:
    folder, page = drawn(tmp_path / "folder"), tmp_path / "page.html"
    options = ["--artefacts", "fp32", "--batch", "1", "--rounds", "1", "--streams", "1", "--html", str(page)]
    assert lehrnet(["bench", str(tiny_bundle), *options, "--results", str(folder / RESULTS)]) == 0
    assert "NVIDIA H100 80GB HBM3" in page.read_text()

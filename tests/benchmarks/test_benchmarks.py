import json
import re
from pathlib import Path

import pytest

from lehrnet.benchmarks import host, interleave, results
from lehrnet.benchmarks.paper import WHY_THEY_DIFFER, paper_cost, paper_table
from lehrnet.cli import main
from lehrnet.model import list_models
from lehrnet.pose.coco import read_coco
from lehrnet.pose.spec import PoseSpec
from lehrnet.pose.synthetic import write_synthetic
from lehrnet.training.pack import write_pack

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


def test_the_paper_prints_4_2_million_and_1_5_billion() -> None:
    printed = paper_cost("lehrnet_w32")
    assert printed is not None
    assert (printed.params_m, printed.coco_macs_g, printed.mpii_macs_g) == (4.2, 1.5, 1.6)
    assert paper_cost("lehrnet_w16") is None


def test_every_variant_of_the_paper_has_a_reason_for_its_difference() -> None:
    printed = {name for name in list_models() if paper_cost(name)}
    assert len(printed) == 5
    assert WHY_THEY_DIFFER.keys() == printed


def test_the_four_tables_are_package_data() -> None:
    names = ("table1_coco_val2017", "table2_coco_testdev2017", "table3_mpii_val", "table4_ablation")
    assert [len(paper_table(name)) for name in names] == [29, 12, 18, 3]


def test_a_race_pairs_its_rounds() -> None:
    """The machine slows down fourfold; round by round b is 2, 4 and 2 times as fast as a. By medians it would be 4."""
    turns: list[str] = []
    milliseconds = {"a": iter([900.0, 10, 20, 40]), "b": iter([1.0, 5, 5, 20])}  # the first is the warm-up's

    def timed(run) -> float:
        run()
        return next(milliseconds[turns[-1]])

    subjects = {"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}
    result = interleave.race(subjects, "a", rounds=3, warm_up=1, timed=timed)
    assert turns == ["a", "b"] * 4
    assert result.speed_up["b"] == {"p50": 2, "p10": 2, "p90": 3.6}
    assert result.milliseconds == {"a": {"p50": 20, "p10": 12, "p90": 36}, "b": {"p50": 5, "p10": 5, "p90": 17}}
    with pytest.raises(ValueError, match="rounds is 0"):
        interleave.race({}, "a", rounds=0)


def test_every_way_to_crop_and_decode_is_timed(monkeypatch) -> None:
    monkeypatch.setattr(host, "PEOPLE", 2)
    figures = host.measure(rounds=1)
    assert [len(figures[part]["milliseconds"]) for part in ("decode", "refine", "crop")] == [2, 3, 4]
    assert figures["decode"]["milliseconds"].keys() == {"quarter", "quarter by a loop over people and joints"}
    assert all(
        one["p50"] > 0 for part in ("decode", "refine", "crop") for one in figures[part]["milliseconds"].values()
    )


def test_a_result_names_its_command_and_machine(tmp_path: Path) -> None:
    results.write_result(tmp_path / "new" / "a.json", "python -m a", {"figure": 1})
    content = json.loads((tmp_path / "new" / "a.json").read_text())
    assert (content["command"], content["figure"]) == ("python -m a", 1)
    assert content["machine"]["versions"]["numpy"]


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_kept_result_says_where_it_comes_from(path: Path) -> None:
    content = json.loads(path.read_text())
    assert content["format"] == "lehrnet-result-1"
    assert content["command"].startswith(("python -m lehrnet", "lehrnet "))
    assert content["machine"]["commit"]


def test_training_throughput_names_the_loader_s_share(tmp_path: Path, capsys) -> None:
    write_synthetic(tmp_path / "drawn", 3)
    write_pack(tmp_path / "pack", {"drawn": read_coco(tmp_path / "drawn")}, PoseSpec(input_size=(64, 64)))
    options = ["--variants", "lehrnet_w16", "--size", "64x64", "--batch", "2", "--steps", "1", "--device", "cpu"]
    kept = tmp_path / "training.json"
    assert main(["bench", "--training", str(tmp_path / "pack"), *options, "--bf16", "--result", str(kept)]) == 0
    assert re.search(r"cpu, bfloat16, .*\n +lehrnet_w16", capsys.readouterr().out)
    facts = json.loads(kept.read_text())
    assert facts["training"]["lehrnet_w16"] > 0
    assert facts["bf16"] is True
    assert facts["loader_share"].keys() == {"decoded", "encoded"}
    assert main(["bench", "--training", str(tmp_path / "pack"), "--batch", "0"]) == 2
    assert main(["bench", "--training", str(tmp_path / "none")]) == 2

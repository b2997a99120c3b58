import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from lehrnet.benchmarks import latency, saturated
from lehrnet.benchmarks.compare import Change, compare, read_result
from lehrnet.benchmarks.saturated import stream_counts
from lehrnet.cli import main
from lehrnet.runtime.bundle import open_bundle

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def result(tiny_bundle: Path, tmp_path_factory) -> Path:
    kept = tmp_path_factory.mktemp("bench") / "result.json"
    options = ["--batch", "1,3", "--rounds", "3", "--sustained", "0.02", "--result", str(kept)]
    assert main(["bench", str(tiny_bundle), *options]) == 0
    return kept


def test_every_stage_has_percentiles_and_a_dispersion(result: Path) -> None:
    facts = json.loads(result.read_text())
    subject = facts["subjects"]["fp32"]
    assert subject["batches"].keys() == {"1", "3"}
    for figures in subject["batches"].values():
        for stage in (*latency.STAGES, *latency.WHOLE):
            assert 0 < figures[stage]["p50"] <= figures[stage]["p99"]
            assert figures[stage].keys() == {"p50", "p90", "p99", "dispersion"}
    assert subject["cold_start_s"] > 0
    assert facts["peak_rss_mib"] > 10


def test_three_people_in_30_ms_are_100_a_second(tiny_bundle: Path, monkeypatch) -> None:
    """Figures worked out by hand from times that are given: five rounds after two to warm up."""
    rounds = [99.0, 99.0, 0.020, 0.024, 0.030, 0.036, 0.090]
    whole = iter([seconds for each in rounds for seconds in (99.0, each)])  # the first of a round fills caches
    monkeypatch.setattr(latency, "end_to_end", lambda *_: (0.9 * (seconds := next(whole)), seconds))
    monkeypatch.setattr(latency, "by_stage", lambda *_: (0.001, 0.002, 0.017, 0.003, 0.004))
    facts = latency.measure(latency.open_subjects([tiny_bundle], ["fp32"], "cpu"), [3], rounds=5)
    figures = facts["subjects"]["fp32"]["batches"]["3"]
    assert (figures["per_person_ms"], figures["people_per_s"]) == (10, 100)
    assert (figures["end to end"]["p50"], figures["end to end"]["dispersion"]) == (30, 23.4)
    assert figures["frame to keypoints"]["p50"] == 27
    assert [figures[stage]["p50"] for stage in latency.STAGES] == [1, 2, 17, 3, 4]
    assert figures["stages_over_end_to_end"] == 0.9


def test_boxes_lie_in_the_frame() -> None:
    _, boxes = latency.picture(20)
    assert boxes.shape == (20, 4)
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= 1280).all()


def test_a_sustained_rate_is_told_by_tenths(result: Path, tiny_bundle: Path, capsys) -> None:
    found = json.loads(result.read_text())["sustained"]["fp32"]
    assert len(found["people_per_s_by_tenth"]) == 10
    assert np.mean(found["people_per_s_by_tenth"]) == pytest.approx(found["people_per_s"], rel=0.5)
    assert main(["bench", str(tiny_bundle), "--rounds", "1", "--sustained", "0"]) == 2
    assert "--sustained is 0" in capsys.readouterr().err
    modes = ["--sustained", "1", "--power-modes", "fast"]
    assert main(["bench", str(tiny_bundle), "--batch", "1", "--rounds", "1", "--streams", "1", *modes]) == 2
    assert "power modes are 'fast'" in capsys.readouterr().err


class TestComparing:
    def test_a_result_equals_itself(self, result: Path, capsys) -> None:
        assert main(["bench", "--compare", str(result), str(result)]) == 0
        assert "WORSE" not in capsys.readouterr().out

    def test_twice_the_time_is_worse_and_half_of_it_is_not(self, result: Path, tmp_path: Path, capsys) -> None:
        slower = json.loads(result.read_text())
        for figures in slower["subjects"]["fp32"]["batches"].values():
            figures["network"] = {"p50": 1e3, "dispersion": 0.1}
        (tmp_path / "slower.json").write_text(json.dumps(slower))
        assert main(["bench", "--compare", str(result), str(tmp_path / "slower.json")]) == 1
        assert "fp32, batch 1: network, ms" in capsys.readouterr().out
        assert main(["bench", "--compare", str(tmp_path / "slower.json"), str(result)]) == 0

    def test_what_lies_within_the_noise_is_not_worse(self) -> None:
        assert not Change("ms", 10, 10.4, 0.5).worse
        assert Change("ms", 10, 10.6, 0.5).worse
        assert Change("AP", 0.30, 0.29, 0.002, more_is_better=True).worse
        assert not Change("AP", 0.30, 0.31, 0.002, more_is_better=True).worse

    def test_accuracy_is_compared_too(self) -> None:
        (change,) = compare({"figures": {"AP": 0.3, "AP(M)": None}}, {"figures": {"AP": 0.2, "AP(M)": 0.1}})
        assert change.worse

    def test_results_that_share_nothing_are_refused(self) -> None:
        with pytest.raises(ValueError, match="share no figure"):
            compare({}, {})

    @pytest.mark.parametrize("content", ["[]", '{"format": "lehrnet-result-0"}', "{"])
    def test_another_schema_is_refused(self, content: str, tmp_path: Path) -> None:
        (tmp_path / "other.json").write_text(content)
        with pytest.raises(ValueError, match=r"other\.json"):
            read_result(tmp_path / "other.json")

    @pytest.mark.parametrize(
        ("facts", "message"),
        [
            ({"subjects": None}, "the old result.subjects is None, expected an object"),
            ({"subjects": {"fp32": 3}}, "the old result.subjects.fp32 is 3, expected an object"),
            ({"subjects": {"fp32": {}}}, "the old result.subjects.fp32.batches is missing"),
            ({"subjects": {"fp32": {"batches": {"1": []}}}}, r"batches.1 is \[\], expected an object"),
            (
                {"subjects": {"fp32": {"batches": {"1": {"network": 1}}}}},
                "fp32, batch 1, network is 1, expected an object",
            ),
            ({"subjects": {"fp32": {"batches": {"1": {}}}}}, "fp32, batch 1, network is None, expected an object"),
            ({"figures": 4}, "the old result.figures is 4, expected an object"),
            ({"figures": {"AP": "0.3"}}, "the old result.figures.AP is '0.3', expected a finite number"),
            ({"figures": {"\x1b[31m": [1]}}, r"the old result.figures.\\x1b\[31m is \[1\], expected"),
        ],
    )
    def test_figures_of_another_kind_are_a_sentence(self, tmp_path: Path, facts: dict, message: str, capsys) -> None:
        (tmp_path / "a.json").write_text(json.dumps({"format": "lehrnet-result-1", **facts}))
        assert main(["bench", "--compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")]) == 2
        assert re.search(message, capsys.readouterr().err)

    def test_an_accuracy_of_nothing_is_compared(self) -> None:
        (change,) = compare({"figures": {"AP": 0.0}}, {"figures": {"AP": 0.2}})
        assert not change.worse
        assert " - " in str(change)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--batch", "0"], "expected whole numbers from 1"),
        (["--batch", "1,many"], "expected whole numbers from 1"),
        (["--artefacts", "int4"], "has no 'int4'"),
        (["--rounds", "0"], "rounds 0"),
    ],
)
def test_bad_input_is_named(tiny_bundle: Path, arguments: list[str], reason: str, capsys) -> None:
    assert main(["bench", str(tiny_bundle), *arguments]) == 2
    assert reason in capsys.readouterr().err


def test_a_missing_bundle_or_result_is_named(tmp_path: Path, capsys) -> None:
    assert main(["bench", str(tmp_path / "none")]) == 2
    assert "no bundle at" in capsys.readouterr().err
    assert main(["bench", "--compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 2
    assert "no result at" in capsys.readouterr().err


class TestSaturated:
    def test_every_number_of_streams_has_a_rate(self, result: Path) -> None:
        facts = json.loads(result.read_text())["saturated"]
        assert "1" in facts
        assert all(row["people_per_s"] > 0 for row in facts.values())

    @pytest.mark.parametrize(("cores", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6])])
    def test_streams_go_up_to_the_cores(self, cores: int, counts: list[int]) -> None:
        assert stream_counts(cores) == counts

    def test_a_thread_s_error_is_the_caller_s(self, tiny_bundle: Path, monkeypatch) -> None:
        def broken(_: object) -> None:
            raise RuntimeError("no picture")

        monkeypatch.setattr(saturated, "read_picture", broken)
        with pytest.raises(RuntimeError, match="no picture"):
            saturated.measure(open_bundle(tiny_bundle), "fp32", "cpu", people=1, streams=[2], seconds=0.1)


def test_a_device_without_onnx_gets_everything_but_the_atlas(tiny_bundle: Path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    for name in [name for name in sys.modules if name.startswith(("lehrnet.calibration", "lehrnet.benchmarks.atlas"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("lehrnet.benchmarks.atlas", raising=False)
    assert main(["bench", str(tiny_bundle), "--batch", "1", "--rounds", "1"]) == 0
    assert "no atlas" in capsys.readouterr().out


def test_no_backend_says_what_to_install(tiny_bundle: Path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "lehrnet.runtime.backends.onnxruntime", raising=False)
    monkeypatch.delattr("lehrnet.runtime.backends.onnxruntime", raising=False)
    assert main(["bench", str(tiny_bundle)]) == 2
    assert "pip install 'lehrnet[cpu]'" in capsys.readouterr().err

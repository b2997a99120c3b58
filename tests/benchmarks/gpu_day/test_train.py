"""The last step of the day: it pauses with its state saved, and goes on, on the same machine and on another."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("pycocotools")

from lehrnet.benchmarks.gpu_day.pack_results import KEEP, pack_results
from lehrnet.benchmarks.gpu_day.states import RESULTS, Record, States
from lehrnet.benchmarks.gpu_day.steps import Settings
from lehrnet.benchmarks.gpu_day.work import train, training_times
from lehrnet.benchmarks.gpu_day.work.job import Job, PausedError
from lehrnet.model.checkpoint import load_checkpoint
from lehrnet.parsing import read_json
from lehrnet.pose.synthetic import write_synthetic


@pytest.fixture(autouse=True)
def few_steps(monkeypatch) -> None:
    monkeypatch.setattr(train, "SAVE_EVERY", 1)
    monkeypatch.setattr(train, "VALIDATE_EVERY", 1)
    monkeypatch.setattr(training_times, "write_synthetic", lambda folder, images: write_synthetic(folder, 6))


def job(work: Path, seconds: float, carried: Path | None = None) -> Job:
    scratch = work / "train"
    scratch.mkdir(parents=True, exist_ok=True)
    return Job("train", work / "train.json", scratch, seconds, Settings(carried, rehearse=True))


@pytest.mark.slow
def test_it_pauses_in_time_and_goes_on(tmp_path: Path) -> None:
    work = tmp_path / "work"
    with pytest.raises(PausedError, match=r"step 1, \d+% of the schedule"):
        train.work(job(work, train.STOP_BEFORE_S))
    first = read_json(work / "train.json")
    assert (first["place"]["step"], first["steps_taken"], len(first["held_out_ap"])) == (1, 1, 1)
    assert load_checkpoint(work / KEEP / "last.safetensors").network.config.width == 8
    carried = tmp_path / "carried"
    states = States(work / RESULTS, {"train": Record("paused", 1, result=first)})
    pack_results(work, carried / "earlier", states)

    with pytest.raises(PausedError, match="step 2"):
        train.work(job(work, train.STOP_BEFORE_S))
    second = read_json(work / "train.json")
    assert second["went_on_from"] == "state, step 1"
    assert second["place"]["elapsed_s"] > first["place"]["elapsed_s"]
    assert [entry["ap"] for entry in second["held_out_ap"]][:1] == [entry["ap"] for entry in first["held_out_ap"]]
    assert len(second["held_out_ap"]) == 2

    with pytest.raises(PausedError, match="step 2"):
        train.work(job(tmp_path / "fresh", train.STOP_BEFORE_S, carried))
    fresh = read_json(tmp_path / "fresh" / "train.json")
    assert fresh["went_on_from"] == "averaged weights, step 1: the optimizer began anew"
    assert fresh["place"]["elapsed_s"] > first["place"]["elapsed_s"]
    assert len(fresh["held_out_ap"]) == 2


@pytest.mark.slow
def test_it_ends_with_its_schedule(tmp_path: Path) -> None:
    train.work(job(tmp_path, 600))
    facts = read_json(tmp_path / "train.json")
    assert (facts["progress"], facts["pack"]) == (1.0, "drawn people: none was carried")
    assert facts["best_ap"] == max(entry["ap"] for entry in facts["held_out_ap"])
    train.work(job(tmp_path, 600))
    again = read_json(tmp_path / "train.json")
    assert (again["steps_taken"], again["held_out_ap"]) == (0, facts["held_out_ap"])

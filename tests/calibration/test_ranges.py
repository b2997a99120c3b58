import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxsim")

from lehrnet.calibration import ranges as module
from lehrnet.calibration.graph import Graph
from lehrnet.calibration.ranges import collect_ranges, read_ranges, write_ranges


def test_every_placed_tensor_has_a_histogram_and_every_other_one_a_peak(graph, ranges) -> None:
    floats = {name for node in graph.nodes for name in node.output if graph.is_float(name)}
    assert floats <= ranges.observers.keys() | ranges.peaks.keys()
    assert "crops" in ranges.observers
    assert len(ranges.observers) > 50


def test_they_survive_a_file(ranges, tmp_path: Path) -> None:
    write_ranges(tmp_path / "ranges.json", ranges)
    again = read_ranges(tmp_path / "ranges.json")
    assert again.thresholds("mse") == ranges.thresholds("mse")
    assert again.amax == ranges.amax


def test_a_killed_collection_goes_on_to_the_same_ranges(graph, samples, ranges, tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 4)
    monkeypatch.setattr(module, "SAVE_EVERY", 1)
    whole = collect_ranges(graph, samples[0], tiny_checkpoint.spec, tmp_path / "whole.json")

    def killed(batches, _):
        for number, batch in enumerate(batches):
            if number == 2:
                raise KeyboardInterrupt
            yield batch

    path = tmp_path / "resumed.json"
    with pytest.raises(KeyboardInterrupt):
        collect_ranges(graph, samples[0], tiny_checkpoint.spec, path, killed)
    assert not path.exists()
    resumed = collect_ranges(graph, samples[0], tiny_checkpoint.spec, path)
    assert path.read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert resumed.thresholds("entropy") == whole.thresholds("entropy")
    assert [file.name for file in tmp_path.iterdir() if "unfinished" in file.name] == []


def test_ranges_that_are_there_are_read(graph, samples, ranges, tiny_checkpoint, tmp_path, monkeypatch) -> None:
    write_ranges(tmp_path / "ranges.json", ranges)
    monkeypatch.setattr(module, "_Instrumented", None)  # nothing is run
    again = collect_ranges(graph, samples[0], tiny_checkpoint.spec, tmp_path / "ranges.json")
    assert again.amax == ranges.amax


def test_ranges_of_other_weights_are_refused(graph, ranges, tmp_path: Path) -> None:
    other = Graph(graph.model)
    name = next(name for name, tensor in other.constants.items() if tensor.name.endswith("head.weight"))
    other.constants[name].raw_data = bytes(reversed(other.constants[name].raw_data))
    with pytest.raises(ValueError, match="ranges of another checkpoint"):
        ranges.check(other, tmp_path / "ranges.json")


@pytest.mark.parametrize("content", ["{}", "[", json.dumps({"format": "lehrnet-ranges-0"})])
def test_a_damaged_file_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "ranges.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"ranges\.json"):
        read_ranges(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: [content], "expected an object"),
        (lambda content: {**content, "format": "lehrnet-ranges-0"}, "format is 'lehrnet-ranges-0', expected"),
        (lambda content: {**content, "seen": 1.5}, "seen is 1.5, expected a whole number"),
        (lambda content: {**content, "seen": -1}, "seen is below 0"),
        (lambda content: {**content, "graph": None}, "graph is None, expected a text"),
        (lambda content: {**content, "peaks": None}, "peaks is None, expected an object"),
        (lambda content: {**content, "peaks": {"a": "1"}}, "peaks.a is '1', expected a finite number"),
        (lambda content: {**content, "peaks": {"a": -1.0}}, "peaks.a is below 0"),
        (lambda content: {**content, "tensors": []}, r"tensors is \[\], expected an object"),
        (lambda content: of_tensor(content, low="a"), "tensors.crops.low is 'a', expected a finite number"),
        (lambda content: of_tensor(content, high=float("inf")), "it holds Infinity"),
        (lambda content: of_tensor(content, counts=None), "tensors.crops.counts is not a list of 1024 numbers"),
        (lambda content: of_tensor(content, counts=[1, 2]), "tensors.crops.counts is not a list of 1024 numbers"),
        (lambda content: of_tensor(content, counts=[-1] * 1024), "tensors.crops.counts is not a list of 1024 numbers"),
        (lambda content: of_tensor(content, counts=[0.5] * 1024), "tensors.crops.counts is not a list of 1024 numbers"),
        (lambda content: of_tensor(content, counts=[0] * 1024), "contradict its counts"),
        (lambda content: of_tensor(content, low=1e9), "contradict its counts"),
        (lambda content: of_tensor(content, limit=-1), "contradict its counts"),
    ],
)
def test_ranges_of_another_kind_name_their_key(ranges, tmp_path: Path, change, message: str) -> None:
    path = tmp_path / "ranges.json"
    write_ranges(path, ranges)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=rf"ranges\.json: .*{message}"):
        read_ranges(path)


def of_tensor(content: dict, **changes: object) -> dict:
    return {**content, "tensors": {"crops": {**content["tensors"]["crops"], **changes}}}


def test_ranges_that_lack_a_tensor_are_refused(graph, ranges, tmp_path: Path) -> None:
    fewer = replace(ranges, observers={name: each for name, each in ranges.observers.items() if name != "crops"})
    with pytest.raises(ValueError, match="lacks crops and 0 more tensors; collect them again"):
        fewer.check(graph, tmp_path / "ranges.json")
    ranges.check(graph, tmp_path / "ranges.json")


def test_noise_is_no_calibration_data(graph, samples, tiny_checkpoint, tmp_path, monkeypatch) -> None:
    noise = np.random.default_rng(0).standard_normal((8, 3, 64, 64), dtype=np.float32)
    monkeypatch.setattr(type(samples[0]), "batches", lambda *_: iter([(noise, None, None)]))
    with pytest.raises(ValueError, match="are noise"):
        collect_ranges(graph, replace(samples[0], seed=9), tiny_checkpoint.spec, tmp_path / "ranges.json")

"""Activation ranges: histograms of each tensor on the calibration people, collected once and stored as JSON."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from ..files import write_text
from ..parsing import naming, parse, read_json
from ..pose.spec import PoseSpec
from .graph import Graph
from .observers import BINS, Method, Observer
from .placement import place
from .samples import Sample, check_photographs
from .units import convs_of, quantizable_units

FORMAT = "lehrnet-ranges-1"
MAX_BYTES = 256 << 20  # of a file; lehrnet_w32's has 3 million
MAX_COUNT = 1 << 50  # of a bin: sums still fit into 64 bits
BATCH = 8
SAVE_EVERY = 8  # batches
PEAK = "/largest"
Progress = Callable[[Iterable[Any], int], Iterable[Any]]


@dataclass
class Ranges:
    """An observer for each tensor that may get a Q/DQ pair, and the largest |x| of each other float tensor."""

    graph: str
    """Fingerprint of the graph."""
    sample: Mapping[str, Any]
    seen: int = 0
    """Batches collected so far."""
    observers: dict[str, Observer] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)

    def thresholds(self, method: Method) -> dict[str, float]:
        """Clipping threshold of each observed tensor."""
        return {tensor: observer.threshold(method) for tensor, observer in self.observers.items()}

    @property
    def non_negative(self) -> set[str]:
        """Observed tensors that were never below 0."""
        return {tensor for tensor, observer in self.observers.items() if observer.low >= 0}

    @property
    def amax(self) -> dict[str, float]:
        """Largest |x| of each tensor."""
        return {**self.peaks, **{tensor: observer.amax for tensor, observer in self.observers.items()}}

    def check(self, graph: Graph, path: Path) -> None:
        """Raise ValueError unless the ranges are complete and belong to `graph`; `path` is named in the error."""
        wanted = fingerprint(graph)
        if self.graph != wanted:
            raise ValueError(
                f"{path} holds ranges of another checkpoint or size (graph {self.graph[:12]}, this one is "
                f"{wanted[:12]}); collect them again with --calibration, or name other ones with --ranges"
            )
        observed, others = _watched(graph)
        missing = [name for name in observed if name not in self.observers]
        missing += [name for name in others if name not in self.peaks]
        if missing:
            raise ValueError(f"{path} lacks {missing[0]} and {len(missing) - 1} more tensors; collect them again")


def fingerprint(graph: Graph) -> str:
    """SHA-256 of a graph's nodes and weights."""
    digest = hashlib.sha256()
    for part in (*graph.nodes, *graph.constants.values()):
        digest.update(part.SerializeToString(deterministic=True))
    return digest.hexdigest()


def collect_ranges(
    graph: Graph, sample: Sample, spec: PoseSpec, path: Path, progress: Progress = lambda batches, _: batches
) -> Ranges:
    """Run the sample through the graph and write its ranges to `path`; matching ranges found there are reused.

    A killed run is resumed. Memory is bounded by one batch of 8 people, since histograms are kept instead of
    activations. ValueError for blank images, for noise, and for NaN or infinity, naming the tensor.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    batch = graph.batch or BATCH
    count = -(-len(sample.people) // batch)
    ranges = Ranges(fingerprint(graph), sample.facts())
    for before in (read_ranges(found) for found in (path, unfinished) if found.is_file()):
        if (before.graph, before.sample) == (ranges.graph, ranges.sample):
            ranges = before
            break
    if ranges.seen >= count:
        ranges.check(graph, path)
        return ranges
    session = _Instrumented(graph)
    for number, (crops, _, _) in enumerate(progress(sample.batches(spec, batch), count)):
        if number == 0:
            check_photographs(crops)
        if number < ranges.seen:
            continue
        session.observe(crops, ranges)
        ranges.seen = number + 1
        if ranges.seen % SAVE_EVERY == 0:
            write_ranges(unfinished, ranges)
    write_ranges(path, ranges)
    unfinished.unlink(missing_ok=True)
    return ranges


def write_ranges(path: Path, ranges: Ranges) -> None:
    """Write ranges atomically."""
    content = {
        "format": FORMAT,
        "graph": ranges.graph,
        "sample": ranges.sample,
        "seen": ranges.seen,
        "peaks": ranges.peaks,
        "tensors": {
            name: {"low": each.low, "high": each.high, "limit": each.limit, "counts": each.counts.tolist()}
            for name, each in ranges.observers.items()
        },
    }
    write_text(path, json.dumps(content, separators=(",", ":")) + "\n")


def read_ranges(path: Path) -> Ranges:
    """Read ranges; ValueError for a damaged file or another format."""
    content = read_json(path, MAX_BYTES)
    with naming(path):
        read = parse(_Stored, content)
        observers = {name: _observer(f"tensors.{name}", facts) for name, facts in read.tensors.items()}
        wrong = [name for name, peak in read.peaks.items() if peak < 0]
        if wrong or read.seen < 0:
            raise ValueError(f"{f'peaks.{wrong[0]}' if wrong else 'seen'} is below 0; collect the ranges again")
        return Ranges(read.graph, read.sample, read.seen, observers, dict(read.peaks))


@dataclass(frozen=True)
class _Tensor:
    """An observer, as stored."""

    low: float
    high: float
    limit: float
    counts: Any
    """Checked in `_observer`, for speed."""


@dataclass(frozen=True)
class _Stored:
    """Content of a range file."""

    format: Literal["lehrnet-ranges-1"]
    graph: str
    sample: Mapping[str, Any]
    seen: int
    tensors: Mapping[str, _Tensor]
    peaks: Mapping[str, float]


def _observer(key: str, facts: _Tensor) -> Observer:
    counts = facts.counts
    whole = isinstance(counts, list) and len(counts) == BINS
    if not whole or not all(type(count) is int and 0 <= count <= MAX_COUNT for count in counts):
        raise ValueError(f"{key}.counts is not a list of {BINS} numbers from 0; collect the ranges again")
    found = Observer(facts.low, facts.high, facts.limit, np.array(counts, np.int64))
    if not (found.low <= found.high and found.amax <= found.limit) or (found.limit and not found.counts.any()):
        raise ValueError(f"{key}: low {found.low}, high {found.high} and limit {found.limit} contradict its counts")
    return found


def _watched(graph: Graph) -> tuple[list[str], list[str]]:
    """Names of the tensors that get an observer, and of all other float tensors."""
    convs = convs_of(quantizable_units(graph))
    placed = {tensor for group in place(graph, convs, outputs=True).groups for tensor in group}
    floats = [name for node in graph.nodes for name in node.output if graph.is_float(name)]
    given = [name for name in graph.inputs if name in placed]
    return given + [name for name in floats if name in placed], [name for name in floats if name not in placed]


class _Instrumented:
    """A session that outputs the observed tensors in full, and the largest |x| of each other float tensor."""

    def __init__(self, graph: Graph) -> None:
        observed, self._peaks = _watched(graph)
        self._graph, (self._input,) = graph, graph.inputs
        self._watches_input = self._input in observed
        self._whole = [name for name in observed if name != self._input]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        model = self._instrumented(graph).SerializeToString()
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def observe(self, crops: NDArray[np.float32], ranges: Ranges) -> None:
        """Run one batch of crops (N, 3, H, W) and add its values to the ranges."""
        crops = self._graph.fitted(crops)
        values = self._session.run(self._whole + [name + PEAK for name in self._peaks], {self._input: crops})
        whole = dict(zip(self._whole, values, strict=False))
        if self._watches_input:
            whole[self._input] = crops
        for name, tensor in whole.items():
            try:
                ranges.observers.setdefault(name, Observer()).update(np.asarray(tensor))
            except ValueError as error:
                raise ValueError(f"on the calibration data {name}: {error}") from error
        for name, peak in zip(self._peaks, values[len(self._whole) :], strict=True):
            ranges.peaks[name] = max(ranges.peaks.get(name, 0.0), float(np.asarray(peak)))

    def _instrumented(self, graph: Graph) -> ModelProto:
        model = ModelProto()
        model.CopyFrom(graph.model)
        for name in self._peaks:
            model.graph.node.add(op_type="Abs", input=[name], output=[name + "/magnitude"])
            reduced = helper.make_node("ReduceMax", [name + "/magnitude"], [name + PEAK], keepdims=0)
            model.graph.node.append(reduced)
        del model.graph.output[:]
        model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in self._whole)
        peaks = (helper.make_tensor_value_info(name + PEAK, TensorProto.FLOAT, []) for name in self._peaks)
        model.graph.output.extend(peaks)
        return model

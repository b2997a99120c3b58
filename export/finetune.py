"""From a checkpoint to one that drifts less in INT8: calibrate, fine-tune, and judge both."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from onnx import ModelProto

from ..calibration.finetune import Tuning, finetune
from ..calibration.graph import Graph, read_graph
from ..calibration.judge import Judge
from ..calibration.quantize import input_scales, quantise
from ..calibration.ranges import Ranges, collect_ranges
from ..calibration.samples import Sample, divide, read_people
from ..calibration.units import convs_of, quantisable_units
from ..model.checkpoint import Checkpoint, save_checkpoint
from ..pose.drift import Drift
from ..pose.spec import PoseSpec
from .graph import export_network
from .precisions import Calibration, Progress


def finetune_checkpoint(
    checkpoint: Checkpoint,
    out: Path,
    calibration: Calibration,
    tuning: Tuning,
    *,
    progress: Progress = lambda things, _, __: things,
    watch: Callable[[int, float], None] = lambda _, __: None,
) -> tuple[Drift, Drift]:
    """Write a fine-tuned checkpoint; the drift of all-INT8 before and after, both against the first FP32 network.

    Learns from the people that the ranges come from, and judges on others. A killed run goes on where it was.
    """
    if calibration.folder is None:
        raise ValueError("fine-tuning needs people to learn from: name a data folder with --calibration FOLDER")
    spec = checkpoint.spec
    people = read_people(calibration.folder, spec, held_out=calibration.held_out)
    sample, judged = divide(people, calibration.people, calibration.judged, calibration.seed)
    ranges = calibration.ranges or out.with_name(f"{out.name}.ranges.json")
    with TemporaryDirectory() as scratch:
        before, after = Path(scratch) / "before.onnx", Path(scratch) / "after.onnx"
        export_network(checkpoint.network, spec.input_size, before, "split")
        graph = read_graph(before)
        found = _ranges(graph, sample, spec, ranges, progress)
        judge = Judge(judged, spec, before)
        scales = input_scales(graph, _convs(graph), found.thresholds(calibration.method))
        first = judge(_all_int8(graph, found, calibration))
        crops = np.concatenate([crops for crops, _, _ in sample.batches(spec, 32)])
        state = out.with_name(f"{out.name}.state")
        tuned = finetune(checkpoint.network, spec.input_size, scales, crops, tuning=tuning, state=state, watch=watch)
        export_network(tuned, spec.input_size, after, "split")
        changed = read_graph(after)
        again = _ranges(changed, sample, spec, Path(scratch) / "ranges.json", progress)
        last = judge(_all_int8(changed, again, calibration))
    note = f"{checkpoint.note}; fine-tuned for INT8 in {tuning.steps} steps"
    save_checkpoint(out, replace(checkpoint, network=tuned, note=note))
    return first, last


def _ranges(graph: Graph, sample: Sample, spec: PoseSpec, path: Path, progress: Progress) -> Ranges:
    return collect_ranges(graph, sample, spec, path, lambda batches, count: progress(batches, "ranges", count))


def _convs(graph: Graph) -> set[str]:
    return convs_of(quantisable_units(graph))


def _all_int8(graph: Graph, ranges: Ranges, calibration: Calibration) -> ModelProto:
    return quantise(graph, _convs(graph), ranges.thresholds(calibration.method), ranges.non_negative)

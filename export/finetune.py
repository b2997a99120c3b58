"""Quantization-aware fine-tuning of a checkpoint: calibrate, fine-tune, and judge before and after."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from onnx import ModelProto

from ..calibration.calibrate import Calibration, Progress, calibrate, collected
from ..calibration.finetune import Tuning, finetune
from ..calibration.graph import Graph, read_graph
from ..calibration.quantize import input_scales, quantize
from ..calibration.ranges import Ranges
from ..calibration.units import convs_of, quantizable_units
from ..model.checkpoint import Checkpoint, save_checkpoint
from ..pose.drift import Drift
from .graph import export_network


def finetune_checkpoint(
    checkpoint: Checkpoint,
    out: Path,
    calibration: Calibration,
    tuning: Tuning,
    *,
    progress: Progress = lambda things, _, __: things,
    watch: Callable[[int, float], None] = lambda _, __: None,
) -> tuple[Drift, Drift]:
    """Write a fine-tuned checkpoint to `out`; return the drift before and after.

    Both drifts are of all units in INT8 against the original FP32 network. The network learns from the people of the
    ranges and is judged on others. A killed run is resumed.
    """
    if calibration.folder is None:
        raise ValueError("fine-tuning needs people to learn from: name a data folder with --calibration FOLDER")
    spec = checkpoint.spec
    with TemporaryDirectory() as scratch:
        before, after = Path(scratch) / "before.onnx", Path(scratch) / "after.onnx"
        export_network(checkpoint.network, spec.input_size, before, "split")
        found = calibrate(before, spec, calibration, out.with_name(f"{out.name}.ranges.json"), progress)
        graph, sample, judge, ranges = found.graph, found.sample, found.judge, found.ranges
        assert sample is not None
        assert judge is not None
        assert ranges is not None
        scales = input_scales(graph, _convs(graph), ranges.thresholds(calibration.method))
        first = judge(_all_int8(graph, ranges, calibration))
        crops = np.concatenate([crops for crops, _, _ in sample.batches(spec, 32)])
        state = out.with_name(f"{out.name}.state")
        tuned = finetune(checkpoint.network, spec.input_size, scales, crops, tuning=tuning, state=state, watch=watch)
        export_network(tuned, spec.input_size, after, "split")
        changed = read_graph(after)
        again = collected(changed, sample, spec, Path(scratch) / "ranges.json", progress)
        last = judge(_all_int8(changed, again, calibration))
    note = f"{checkpoint.note}; fine-tuned for INT8 in {tuning.steps} steps"
    save_checkpoint(out, replace(checkpoint, network=tuned, note=note))
    return first, last


def _convs(graph: Graph) -> set[str]:
    return convs_of(quantizable_units(graph))


def _all_int8(graph: Graph, ranges: Ranges, calibration: Calibration) -> ModelProto:
    return quantize(graph, _convs(graph), ranges.thresholds(calibration.method), ranges.non_negative)

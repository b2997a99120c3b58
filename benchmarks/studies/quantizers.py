"""Our quantizer against ONNX Runtime's on the same convs and people: drift, size, TensorRT's rules, speed.

python -m lehrnet.benchmarks.studies.quantizers bundle --data FOLDER --out benchmarks/results/quantizers_cpu.json
"""

import argparse
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from ...calibration.calibrate import Calibration
from ...calibration.graph import read_graph
from ...calibration.judge import Judge
from ...calibration.observers import METHODS
from ...calibration.quantize import CPU, TENSORRT, quantize
from ...calibration.ranges import collect_ranges
from ...calibration.rules import broken_rules
from ...calibration.samples import Sample
from ...calibration.units import convs_of, quantizable_units
from ...pose.spec import PoseSpec
from ...runtime.bundle import INPUT_NAME, open_bundle
from ...runtime.session import open_session
from ..interleave import race
from ..results import write_result

LIBRARY = {"minmax": CalibrationMethod.MinMax, "percentile": CalibrationMethod.Percentile}


class _People(CalibrationDataReader):
    """Data reader for `quantize_static`: returns batches, then None."""

    def __init__(self, sample: Sample, spec: PoseSpec) -> None:
        self._batches: Iterator[Any] = iter(sample.batches(spec, 8))

    def get_next(self) -> dict[str, Any] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        batch = next(self._batches, None)
        return None if batch is None else {INPUT_NAME: batch[0]}


def by_library(fp32: Path, convs: set[str], sample: Sample, spec: PoseSpec, method: str) -> ModelProto:
    """ONNX Runtime's static quantization of the same convs: symmetric int8, per channel, float biases."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "int8.onnx"
        quantize_static(
            str(fp32),
            str(out),
            _People(sample, spec),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=sorted(convs),
            calibrate_method=LIBRARY[method],
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
        )
        return onnx.load(str(out))


def measure(root: Path, folder: Path, people: int, judged: int, rounds: int) -> dict[str, Any]:
    """All of the network except EMA in INT8, by both quantizers."""
    bundle = open_bundle(root)
    fp32, spec = bundle.path("fp32"), bundle.spec
    graph = read_graph(fp32)
    sample, others = Calibration(folder, held_out=True, people=people, judged=judged).samples(spec)
    judge = Judge(others, spec, fp32)
    convs = convs_of(quantizable_units(graph))
    figures: dict[str, Any] = {}
    with TemporaryDirectory() as scratch:
        paths = {"fp32": fp32}
        started = time.monotonic()
        ranges = collect_ranges(graph, sample, spec, Path(scratch) / "ranges.json")
        seconds = time.monotonic() - started
        models = {
            f"ours, {method}": quantize(graph, convs, ranges.thresholds(method), ranges.non_negative, TENSORRT)
            for method in METHODS
        }
        models["ours for the CPU, percentile"] = quantize(
            graph, convs, ranges.thresholds("percentile"), ranges.non_negative, CPU
        )
        for method in LIBRARY:
            started = time.monotonic()
            models[f"onnxruntime, {method}"] = by_library(fp32, convs, sample, spec, method)
            figures[f"onnxruntime, {method}"] = {"seconds": time.monotonic() - started}
        for name, model in models.items():
            paths[name] = Path(scratch) / f"{len(paths)}.onnx"
            onnx.save(model, str(paths[name]))
            drift = judge(model)
            facts = {"bytes": paths[name].stat().st_size, "nodes": len(model.graph.node), "drift": drift.facts()}
            figures[name] = {"seconds": seconds, **figures.get(name, {}), **facts}
            figures[name]["broken_rules"] = len(broken_rules(model))
        timed = [name for name in paths if name == "fp32" or "percentile" in name]
        sessions = {name: open_session(paths[name], "cpu") for name in timed}
        speeds = {}
        for batch in (1, 8):
            crops = np.random.default_rng(0).standard_normal((batch, 3, *spec.input_size), dtype=np.float32)
            result = race({name: partial(each.run, crops) for name, each in sessions.items()}, "fp32", rounds)
            speeds[str(batch)] = {"milliseconds": result.milliseconds, "speed_up": result.speed_up}
    return {"people": len(sample.people), "judged": len(others.people), "quantizers": figures, "by_batch": speeds}


def main() -> None:
    """Measure, print a table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="people held out from training")
    parser.add_argument("--people", type=int, default=128, help="people to calibrate on (%(default)s)")
    parser.add_argument("--judged", type=int, default=128, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    figures = measure(options.bundle, options.data, options.people, options.judged, options.rounds)
    for name, facts in figures["quantizers"].items():
        drift = facts["drift"]
        print(
            f"{name:30} {facts['bytes'] / 1e6:5.1f} MB {facts['nodes']:5d} nodes  OKS drop {drift['oks_drop']:.4f}  "
            f"AP drop {drift['ap_drop']:+.4f}  broken rules {facts['broken_rules']}"
        )
    for batch, result in figures["by_batch"].items():
        speeds = ", ".join(f"{name}: {ratio['p50']:.2f}" for name, ratio in result["speed_up"].items())
        print(f"speed over FP32 at batch {batch}: {speeds}")
    if options.out:
        write_result(options.out, "python -m lehrnet.benchmarks.studies.quantizers BUNDLE --data FOLDER", figures)


if __name__ == "__main__":
    main()

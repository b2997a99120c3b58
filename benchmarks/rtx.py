"""Whether TensorRT-RTX takes a bundle's graphs: each is parsed and built into an engine, ahead of time, without a GPU.

pip install "lehrnet[rtx-build]"
python -m lehrnet.benchmarks.rtx bundle --out benchmarks/results/rtx_build.json
"""

import argparse
import time
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

from ..runtime.bundle import WEIGHTS, open_bundle
from .results import write_result

try:
    trt: Any = import_module("tensorrt_rtx_bindings")  # it brings no types
except ImportError as error:
    raise ImportError("TensorRT-RTX is not installed: pip install 'lehrnet[rtx-build]'") from error

BATCHES = (1, 8, 32)  # smallest, usual and largest of the optimization profile
FRAME = ((64, 64), (720, 1280), (2160, 3840))  # height and width of a whole graph's frame, likewise
LEFT_OUT = ("int8_cpu",)  # asymmetric: for ONNX Runtime alone


class _Logger(trt.ILogger):
    """Counts warnings by their text: there are hundreds of the same."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.warnings: Counter[str] = Counter()

    def log(self, severity: Any, message: str) -> None:
        if severity <= trt.ILogger.WARNING:
            self.warnings[message.partition("\n")[0][:160]] += 1


LOGGER = _Logger()  # TensorRT keeps the first one of a process


def build(path: Path, capability: str = "SM89") -> dict[str, Any]:
    """Parse and build one ONNX file for a compute capability; ValueError with the parser's words where it refuses."""
    LOGGER.warnings.clear()
    builder = trt.Builder(LOGGER)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, LOGGER)
    if not parser.parse_from_file(str(path)):
        raise ValueError(f"{path} is not taken by TensorRT-RTX: {parser.get_error(0).desc()}")
    config = builder.create_builder_config()
    config.add_optimization_profile(_profile(builder, network))
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    started = time.monotonic()
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ValueError(f"{path} was parsed but not built: {LOGGER.warnings.most_common(1)}")
    seconds = time.monotonic() - started
    return {
        "layers": network.num_layers,
        "engine_bytes": engine.nbytes,
        "seconds": round(seconds, 1),
        "warnings": dict(LOGGER.warnings),
    }


def _profile(builder: Any, network: Any) -> Any:
    """The sizes between which the free sides of every input may lie."""
    profile = builder.create_optimization_profile()
    for place in range(network.num_inputs):
        tensor = network.get_input(place)
        shape = tuple(tensor.shape)
        if shape[0] == -1 and len(shape) == 3:  # a frame
            profile.set_shape(tensor.name, *((*side, 3) for side in FRAME))
        else:
            profile.set_shape(tensor.name, *((batch, *shape[1:]) for batch in BATCHES))
    return profile


def main() -> None:
    """Build every graph of a bundle, print a line for each, and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--capability", default="SM89", help="compute capability to build for (%(default)s)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    bundle = open_bundle(options.bundle)
    graphs = {}
    for name in bundle.artefacts:
        if name == WEIGHTS or name in LEFT_OUT:
            continue
        graphs[name] = build(bundle.path(name), options.capability)
        facts = graphs[name]
        print(
            f"{name:12} {facts['layers']:5d} layers, {facts['engine_bytes'] / 1e6:6.1f} MB, {facts['seconds']:5.1f} s"
        )
    if options.out:
        facts = {"tensorrt_rtx": trt.__version__, "capability": options.capability, "graphs": graphs}
        write_result(options.out, "python -m lehrnet.benchmarks.rtx BUNDLE", facts)


if __name__ == "__main__":
    main()

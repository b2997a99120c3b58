"""Check that TensorRT-RTX supports a bundle's graphs: each is built into an engine ahead of time, without a GPU.

pip install "lehrnet[rtx-build]"
python -m lehrnet.benchmarks.studies.rtx bundle --out benchmarks/results/rtx_build.json
"""

import argparse
from pathlib import Path

from ...export.engine import build_engine
from ...export.trt_library import Log, Settings, load_library
from ...runtime.bundle import open_bundle
from ..results import write_result

LEFT_OUT = ("int8_cpu",)  # asymmetric: for ONNX Runtime only


def main() -> None:
    """Build every graph of a bundle, print a line for each and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--capability", default="8.9", help="compute capability to build for (%(default)s)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    library, bundle = load_library("tensorrt_rtx"), open_bundle(options.bundle)
    settings, log = Settings(batches=(32,), capabilities=(options.capability,)), Log(library)
    graphs = {}
    for name in bundle.artefacts:
        if bundle.path(name).suffix != ".onnx" or name in LEFT_OUT:
            continue
        built = build_engine(bundle.path(name), settings, library, log)
        graphs[name] = {
            "layers": built.layers,
            "engine_bytes": len(built.content),
            "seconds": built.seconds,
            "warnings": built.warnings,
        }
        print(f"{name:12} {built.layers:5d} layers, {len(built.content) / 1e6:6.1f} MB, {built.seconds:5.1f} s")
    if options.out:
        facts = {"tensorrt_rtx": library.version, "capability": options.capability, "graphs": graphs}
        write_result(options.out, "python -m lehrnet.benchmarks.studies.rtx BUNDLE", facts)


if __name__ == "__main__":
    main()

"""Time and memory of calibration: collecting the ranges of a bundle's FP32 graph on people of a data folder.

python -m lehrnet.benchmarks.studies.calibration bundle --data coco/ --out benchmarks/results/calibration_cpu.json
"""

import argparse
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from ...calibration.calibrate import Calibration
from ...calibration.graph import read_graph
from ...calibration.ranges import collect_ranges
from ...calibration.samples import CALIBRATION_PEOPLE
from ...runtime.bundle import open_bundle
from ..results import write_result


def measure(root: Path, folder: Path, people: int) -> dict[str, Any]:
    """Seconds, and the peak resident memory of the process."""
    bundle = open_bundle(root)
    graph = read_graph(bundle.path("fp32"))
    sample, _ = Calibration(folder, people=people, judged=1).samples(bundle.spec)
    with TemporaryDirectory() as scratch:
        started = time.monotonic()
        ranges = collect_ranges(
            graph,
            sample,
            bundle.spec,
            Path(scratch) / "ranges.json",
            lambda batches, count: tqdm(batches, "collecting ranges", count, disable=None),
        )
        seconds = time.monotonic() - started
    return {
        "people": len(sample.people),
        "input_size": bundle.spec.input_size,
        "histograms": len(ranges.observers),
        "peaks": len(ranges.peaks),
        "seconds": round(seconds, 1),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    """Measure, print a line and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--people", type=int, default=CALIBRATION_PEOPLE, help="(%(default)s)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    facts = measure(options.bundle, options.data, options.people)
    print(f"{facts['people']} people in {facts['seconds']:.0f} s, at most {facts['peak_rss_mib']} MiB of memory")
    if options.out:
        write_result(options.out, "python -m lehrnet.benchmarks.studies.calibration BUNDLE --data FOLDER", facts)


if __name__ == "__main__":
    main()

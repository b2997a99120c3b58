"""The C++ library against the Python runtime, from a frame and boxes to keypoints, in one interleaved run.

    python -m lehrnet.benchmarks.studies.embed BUNDLE --library build/embed/release/liblehrnet.so --out result.json

With --soak, also the resident memory of many runs of a (tiny) bundle by build/embed/dev/soak.
"""

import argparse
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...runtime.backends.library import LibrarySession
from ...runtime.estimator import PoseEstimator
from ..embedded import wheels_library
from ..interleave import race
from ..latency import picture, read_picture
from ..results import write_result

PEOPLE = (1, 8, 32)


def measure(bundle: Path, library: Path, rounds: int, threads: int | None = None) -> dict[str, Any]:
    """Milliseconds of both, and the share of the C++ time outside the network, by number of people."""
    python = PoseEstimator.open(bundle, device="cpu", threads=threads)
    embedded = LibrarySession(library, bundle, wheels_library(), threads=threads or 0)
    encoded, boxes = picture(max(PEOPLE))
    image, facts = read_picture(encoded), {}
    for people in PEOPLE:
        some = boxes[:people].astype(np.float32)
        found, wanted = embedded(image, some), python(image, some)
        crops = embedded.crop(image, some)
        heatmaps = embedded.run_network(crops)
        subjects = {
            "python": partial(python, image, some),
            "c++": partial(embedded, image, some),
            "c++ crop": partial(embedded.crop, image, some),
            "c++ network": partial(embedded.run_network, crops),
            "c++ decode": partial(embedded.decode, heatmaps, some),
        }
        result = race(subjects, "python", rounds)
        times = {name: each["p50"] for name, each in result.milliseconds.items()}
        facts[str(people)] = {
            "milliseconds": result.milliseconds,
            "speed_over_python": result.speed_up["c++"],
            "share_beside_the_network": round((times["c++ crop"] + times["c++ decode"]) / times["c++"], 4),
            "px_apart": round(float(np.median(np.abs(found[..., :2] - wanted.xy).max(2))), 5),
        }
    embedded.close()
    return {"rounds": rounds, "threads": threads, "frame": list(image.shape[:2]), "by_people": facts}


def soak(program: Path, bundle: Path, runs: int) -> dict[str, Any]:
    """Resident memory in KiB by number of runs."""
    command = [program, bundle, str(runs)]
    environment = {"LEHRNET_ONNXRUNTIME": str(wheels_library())}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)  # noqa: S603
    rows = [[int(number) for number in line.split()] for line in done.stdout.splitlines()]
    warm = rows[1:]  # the first rows have not seen every batch yet
    return {"runs": runs, "resident_kib": rows, "growth_kib": warm[-1][1] - warm[0][1]}


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--library", type=Path, required=True, help="liblehrnet.so")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, help="CPU threads of each")
    parser.add_argument(
        "--soak", type=Path, nargs=2, metavar=("PROGRAM", "BUNDLE"), help="also measure memory over many runs"
    )
    parser.add_argument("--runs", type=int, default=100_000, help="runs of --soak (%(default)s)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    cv2.setNumThreads(options.threads or -1)
    facts = measure(options.bundle, options.library, options.rounds, options.threads)
    for people, row in facts["by_people"].items():
        times = ", ".join(f"{name} {each['p50']:.2f}" for name, each in row["milliseconds"].items())
        print(f"{people:>3} people: {times} ms; outside the network {row['share_beside_the_network']:.1%}")
    if options.soak:
        program, tiny = options.soak
        facts["soak"] = soak(program, tiny, options.runs)
        print(f"{options.runs} runs: resident memory grew by {facts['soak']['growth_kib']} KiB")
    if options.out:
        write_result(options.out, "python -m lehrnet.benchmarks.studies.embed BUNDLE --library liblehrnet.so", facts)


if __name__ == "__main__":
    main()

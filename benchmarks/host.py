"""Time of crop and decode on the CPU for a batch of people, compared with loops and alternatives.

python -m lehrnet.benchmarks.host --out benchmarks/results/host_cpu.json
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pose import crop
from ..pose.frame import person_affines
from ..pose.heatmap import decode
from ..pose.spec import COCO
from .interleave import race
from .results import write_result

PEOPLE = 32


def decode_by_loops(heatmaps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Quarter-offset decoding by the usual loop over people and joints; returns (N, K, 3)."""
    people, joints, height, width = heatmaps.shape
    points = np.zeros((people, joints, 3), np.float32)
    for person in range(people):
        for joint in range(joints):
            cells = heatmaps[person, joint]
            y, x = np.unravel_index(cells.argmax(), cells.shape)
            dx = np.sign(cells[y, x + 1] - cells[y, x - 1]) / 4 if 0 < x < width - 1 else 0
            dy = np.sign(cells[y + 1, x] - cells[y - 1, x]) / 4 if 0 < y < height - 1 else 0
            points[person, joint] = x + dx, y + dy, cells[y, x]
    return points


def measure(rounds: int) -> dict[str, Any]:
    """Milliseconds for 32 people: decoding 17 heatmaps of 64x48 each, and cropping them from a 1080p frame."""
    rng = np.random.default_rng(0)
    heatmaps = rng.standard_normal((PEOPLE, 17, 64, 48), dtype=np.float32)
    frame = rng.integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
    corners = rng.uniform((0, 0), (1500, 600), (PEOPLE, 2))
    boxes = np.concatenate((corners, corners + rng.uniform((60, 150), (250, 450), (PEOPLE, 2))), axis=1)
    affines = person_affines(boxes, COCO)

    def each(sample: crop.Sampler) -> None:
        for affine in affines:
            sample(frame, affine, COCO.input_size)

    found, score = decode(heatmaps)
    np.testing.assert_array_equal(np.concatenate((found, score[..., None]), 2), decode_by_loops(heatmaps))
    decoding = {
        "quarter by a loop over people and joints": lambda: decode_by_loops(heatmaps),
        "quarter": lambda: decode(heatmaps, "quarter"),
    }
    refining = {
        "quarter": lambda: decode(heatmaps, "quarter"),
        "dark": lambda: decode(heatmaps, "dark"),
        "udp": lambda: decode(heatmaps, "udp"),
    }
    cropping = {
        "sampling, the definition": lambda: each(crop.sample_bilinear),
        "sampling, NumPy by rows and columns": lambda: each(crop.sample_upright),
        "sampling, OpenCV's warp": lambda: each(crop.sample_by_opencv),
        "crop_people (sampled and normalized)": lambda: crop.crop_people(frame, boxes, COCO),
    }
    races = {
        "decode": race(decoding, "quarter by a loop over people and joints", rounds),
        "refine": race(refining, "quarter", rounds),
        "crop": race(cropping, "sampling, the definition", max(3, rounds // 4)),
    }
    parts = {name: {"milliseconds": one.milliseconds, "speed_up": one.speed_up} for name, one in races.items()}
    return {"people": PEOPLE, "rounds": rounds, "opencv_is_exact": crop.opencv_is_exact(), **parts}


def main() -> None:
    """Measure, print a table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    figures = measure(options.rounds)
    for part in ("decode", "refine", "crop"):
        print(f"{part}, {PEOPLE} people")
        for name, time in figures[part]["milliseconds"].items():
            print(f"  {name:40} {time['p50']:8.2f} ms   {figures[part]['speed_up'][name]['p50']:6.1f} times")
    if options.out:
        write_result(options.out, "python -m lehrnet.benchmarks.host", figures)


if __name__ == "__main__":
    main()

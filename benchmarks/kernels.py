"""Compiles the CUDA kernels for every architecture and reports their resources; needs nvcc, but no GPU.

python -m lehrnet.benchmarks.kernels --fatbin build/lehrnet.fatbin --out benchmarks/results/kernels_build.json
"""

import argparse
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .results import write_result

SOURCE = Path(__file__).resolve().parent.parent / "runtime" / "kernels" / "kernels.cu"
ARCHITECTURES = ("75", "80", "86", "87", "89", "90", "100", "103", "110", "120", "121")
"""Turing to Blackwell; 87 is Orin. An Xavier's 72 needs CUDA 12."""
COMPILING = re.compile(r"Compiling entry function '(\w+)' for 'sm_(\d+)\w*'")
SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?")

Report = dict[str, dict[str, dict[str, int]]]
"""By kernel and architecture: registers, shared_bytes, stack_bytes, spilled_bytes."""


def compile_all(fatbin: Path, architectures: Sequence[str] = ARCHITECTURES) -> Report:
    """Write a fatbin with machine code for the architectures, and PTX of the last one for later GPUs."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        raise FileNotFoundError("nvcc is not on the path: install the CUDA toolkit, 13 for all architectures")
    targets = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in architectures]
    last = architectures[-1]
    command = [nvcc, "-std=c++17", "-O3", "--extended-lambda", "--expt-relaxed-constexpr", "--threads=0", "-Xptxas=-v"]
    command += [
        *targets,
        f"-gencode=arch=compute_{last},code=compute_{last}",
        "-fatbin",
        str(SOURCE),
        "-o",
        str(fatbin),
    ]
    fatbin.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise RuntimeError(f"nvcc could not compile {SOURCE.name}: {done.stderr[-2000:]}")
    return read_report(done.stderr + done.stdout)


def read_report(text: str) -> Report:
    """Parse the output of ptxas -v."""
    report: Report = defaultdict(dict)
    used: dict[str, int] = {}
    for line in text.splitlines():
        if entry := COMPILING.search(line):
            used = report[entry[1]].setdefault(entry[2], {})
        elif spills := SPILLS.search(line):
            used.update(stack_bytes=int(spills[1]), spilled_bytes=int(spills[2]) + int(spills[3]))
        elif registers := USED.search(line):
            used.update(registers=int(registers[1]), shared_bytes=int(registers[2] or 0))
    return dict(report)


def describe(report: Report) -> str:
    """Table with the maximum over the architectures, one line per kernel."""

    def worst(kernel: dict[str, dict[str, int]], what: str) -> int:
        return max(used[what] for used in kernel.values())

    lines = [f"{'':22} {'registers':>10} {'shared, B':>10} {'stack, B':>10} {'spilled, B':>10}"]
    for name, kernel in report.items():
        cells = (worst(kernel, what) for what in ("registers", "shared_bytes", "stack_bytes", "spilled_bytes"))
        lines.append(f"{name:22} " + " ".join(f"{cell:10d}" for cell in cells))
    return "\n".join(lines)


def main() -> None:
    """Compile, print the resources and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fatbin", type=Path, default=Path("build/lehrnet.fatbin"), help="output (%(default)s)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    report = compile_all(options.fatbin)
    print(describe(report))
    if options.out:
        facts: dict[str, Any] = {"architectures": ARCHITECTURES, "kernels": report}
        write_result(options.out, "python -m lehrnet.benchmarks.kernels", facts)


if __name__ == "__main__":
    main()

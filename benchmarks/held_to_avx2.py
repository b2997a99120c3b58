"""Runs another benchmark as on a processor without AVX-512 and AMX: every library of the process takes its AVX2 code.

python -m lehrnet.benchmarks.held_to_avx2 -m lehrnet.benchmarks.native --out benchmarks/results/native_avx2.json

For Linux on an Intel processor that has `cpuid_fault` in /proc/cpuinfo, and a C compiler.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("without_avx512.c")
HELD = "LEHRNET_HELD_TO"
"""The environment variable that says so to the benchmark, for its result."""


def run_held(arguments: list[str]) -> int:
    """Run Python with these arguments; its exit code."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("held_to_avx2: no C compiler (cc); install one, such as Debian's gcc")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "without_avx512.so"
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", str(SOURCE), "-o", str(library)], check=True)  # noqa: S603 - our own source
        environment = {**os.environ, "LD_PRELOAD": str(library), HELD: "avx2"}
        return subprocess.run([sys.executable, *arguments], env=environment, check=False).returncode  # noqa: S603 - as asked


if __name__ == "__main__":
    sys.exit(run_held(sys.argv[1:]) if sys.argv[1:] else __doc__)

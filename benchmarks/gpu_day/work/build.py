"""Compile the CUDA kernels for the GPU that is here."""

import shutil
import time

from ....runtime.cuda.nvrtc import KERNELS
from ...gpu import gpu_facts
from ...kernels import ARCHITECTURES, compile_all
from .job import AbsentError, Job

FATBIN = "lehrnet.fatbin"
"""As `runtime.cuda.launch` looks for it; that module needs cuda-python."""
REHEARSED = "90"


def work(job: Job) -> None:
    """Write runtime/kernels/lehrnet.fatbin; in a rehearsal a file in the scratch folder, if nvcc is here."""
    if shutil.which("nvcc") is None:
        raise AbsentError("nvcc is not on the path: the kernels are compiled by NVRTC where they are loaded")
    found = gpu_facts()
    number = found[0].get("compute_capability", "").replace(".", "") if found else REHEARSED if job.stand_in else ""
    architectures = (number,) if number in ARCHITECTURES else ARCHITECTURES
    started = time.monotonic()
    report = compile_all((job.scratch if job.stand_in else KERNELS) / FATBIN, architectures)
    job.keep(architectures=architectures, compile_s=round(time.monotonic() - started, 1), kernels=report)

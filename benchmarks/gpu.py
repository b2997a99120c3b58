"""Properties of NVIDIA GPUs: model, driver, clocks, temperature, power limit, memory in use.

Read from `nvidia-smi`; a Jetson has none, see `jetson`.
"""

import os
import shutil
import subprocess
from typing import Any

FIELDS = {
    "name": "name",
    "driver_version": "driver",
    "compute_cap": "compute_capability",
    "clocks.sm": "sm_mhz",
    "clocks.mem": "memory_mhz",
    "temperature.gpu": "celsius",
    "power.limit": "power_limit_w",
    "memory.total": "memory_mib",
    "mig.mode.current": "mig",
}
SILENT = ("[N/A]", "[Not Supported]", "N/A", "")


def gpu_facts() -> list[dict[str, Any]]:
    """One entry per GPU; empty without nvidia-smi or GPUs."""
    return parse_gpus(_ask(f"--query-gpu={','.join(FIELDS)}"))


def memory_of_this_process() -> int | None:
    """GPU memory of this process in MiB over all GPUs, including its CUDA context; None if unknown."""
    return parse_memory(_ask("--query-compute-apps=pid,used_memory"), os.getpid())


def parse_gpus(text: str) -> list[dict[str, Any]]:
    """Parse `nvidia-smi --query-gpu=... --format=csv,noheader,nounits`; unsupported fields are left out."""
    gpus = []
    for line in text.splitlines():
        values = [value.strip() for value in line.split(",")]
        if len(values) == len(FIELDS):
            gpus.append(
                {name: value for name, value in zip(FIELDS.values(), values, strict=True) if value not in SILENT}
            )
    return gpus


def parse_memory(text: str, pid: int) -> int | None:
    """Memory of one process in MiB, from lines "pid, MiB"."""
    pairs = [line.split(",") for line in text.splitlines() if line.count(",") == 1]
    found = [int(mib) for process, mib in pairs if process.strip() == str(pid) and mib.strip().isdecimal()]
    return sum(found) if found else None


def _ask(query: str) -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    command = [program, query, "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)  # noqa: S603
    return done.stdout if done.returncode == 0 else ""

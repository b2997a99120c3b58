"""Properties of the machine, stored in every result."""

import contextlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..runtime.devices import cpu_fact, processor_name
from . import jetson
from .gpu import gpu_facts

LIBRARIES = ("lehrnet", "torch", "onnx", "onnxsim", "onnxruntime", "numpy", "opencv-python-headless")
VECTOR_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "asimddp")


def machine_facts() -> dict[str, Any]:
    """Processor, GPUs with clocks and temperatures, cores, system, library versions and the source's commit."""
    return {
        "processor": processor_name(),
        "vector_flags": [flag for flag in VECTOR_FLAGS if flag in (cpu_fact("flags") + cpu_fact("Features")).split()],
        "cores": core_count(),
        **_where_told("cpu_mhz", cpu_fact("cpu MHz")),
        **_where_told("celsius", _temperatures()),
        **_where_told("gpus", gpu_facts()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: found for name in LIBRARIES if (found := _version(name))},
        "commit": _commit(),
        **({"power_mode": vars(jetson.power_mode())} if jetson.is_jetson() else {}),
    }


def core_count() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _where_told(name: str, value: Any) -> dict[str, Any]:
    """A one-entry dictionary; empty if the value is unknown."""
    return {name: value} if value else {}


def _temperatures() -> dict[str, float]:
    """Temperatures of Linux's thermal zones, degrees C."""
    found = {}
    for zone in sorted(Path("/sys/class/thermal").glob("thermal_zone*")):
        with contextlib.suppress(OSError, ValueError):  # reading a disabled zone fails
            millidegrees = int((zone / "temp").read_text(encoding="ascii"))
            found[(zone / "type").read_text(encoding="utf-8").strip()] = millidegrees / 1000
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Git commit of the source, with "+changes" if files were modified; None outside a checkout."""
    root = Path(__file__).resolve().parent.parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None

"""compute-sanitizer over one small launch of each kernel: memory, races."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from ..steps import PACKAGE
from .job import AbsentError, Job

TOOLS = ("memcheck", "racecheck", "initcheck")
SUMMARY = re.compile(r"(?:ERROR|RACECHECK) SUMMARY: .*")
BESIDE_NVCC = Path("/usr/local/cuda/bin")
FOUND_ERRORS = 9


def work(job: Job) -> None:
    """Keep the summary of each tool; the log has its words."""
    launches = [sys.executable, "-m", f"{PACKAGE}.work.launches"]
    if job.stand_in:
        done = subprocess.run([*launches, "--stand-in"], check=True, text=True, capture_output=True)  # noqa: S603
        job.keep(launches=done.stdout.split())
        return
    program = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=str(BESIDE_NVCC))
    if program is None:
        raise AbsentError("compute-sanitizer is neither on the path nor beside nvcc")
    tools = {}
    for tool in TOOLS:
        command = [program, "--tool", tool, "--error-exitcode", str(FOUND_ERRORS), *launches]
        done = subprocess.run(  # noqa: S603
            command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=job.left()
        )
        print(done.stdout, flush=True)
        summary = SUMMARY.findall(done.stdout)
        tools[tool] = {"exit_code": done.returncode, "summary": summary[-1] if summary else "none"}
        job.keep(tools=tools)

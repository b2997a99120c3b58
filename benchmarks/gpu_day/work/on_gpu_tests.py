"""Run tests/runtime/test_on_a_gpu.py and keep each verdict as it comes; what failed runs once more alone."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

from ..steps import ROOT
from .job import AbsentError, Job

TESTS = "tests/runtime/test_on_a_gpu.py"
VERDICT = re.compile(r"^(tests/\S+?::.+?) (PASSED|FAILED|SKIPPED|ERROR|XFAIL|XPASS)\b")
MOST_ALONE = 8
"""Failed tests that are run alone: a broken CUDA context fails every test after it."""


def work(job: Job) -> None:
    """Keep `verdicts` by test, and `alone` of those that failed among others."""
    if not (ROOT / TESTS).is_file():
        raise AbsentError(f"{TESTS} is not in {ROOT}: a wheel has no tests, a checkout has")
    verdicts: dict[str, str] = {}
    for name, verdict in _run(TESTS):
        verdicts[name] = verdict
        job.keep(verdicts=verdicts, counts=Counter(verdicts.values()))
    if not verdicts:
        raise RuntimeError(f"pytest gave no verdict of {TESTS}: see the log")
    alone: dict[str, str] = {}
    for name in [name for name, verdict in verdicts.items() if verdict in ("FAILED", "ERROR")][:MOST_ALONE]:
        alone[name] = dict(_run(name)).get(name, "NO VERDICT")
        job.keep(alone=alone)


def _run(what: str) -> Iterator[tuple[str, str]]:
    """Verdicts of pytest, by test, as they are printed."""
    command = [sys.executable, "-m", "pytest", what, "-v", "-rA", "--color=no", "-p", "no:cacheprovider", "--tb=short"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        if found := VERDICT.search(line):
            yield found[1], found[2]
    process.wait()

"""Runs the steps: each in a process group of its own, killed at its time limit; a failure stops nothing."""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...files import locked, write_text
from ...parsing import read_json
from .pack_results import LAST_WORDS, pack_results
from .states import ABSENT_CODE, LARGEST, PAUSED_CODE, RESULTS, Record, States, read_states
from .steps import ROOT, Settings, Step

EARLIER = "earlier"
"""In the carried folder: what an earlier call brought back."""
WHEELS = "wheels"
GRACE_S = 4.0
"""Between SIGTERM and SIGKILL."""
KILLED_S = 3.0
"""Waited for a killed process."""
PACKING_S = 10.0
"""Kept free at the end of the day."""
REFRESH_S = 10.0
"""Between two copies of a running step's figures to the results."""
INSTALLING_S = 90.0
REHEARSED_SLOWER = 3
"""Times the limits in a rehearsal, which runs beside other work on a CPU."""
PR_SET_PDEATHSIG = 1  # prctl(2)
SAYS_WHY = re.compile(r"(absent|paused|[\w.]*(Error|Exception|Exit)\w*): ")
LINES_OF_AN_ERROR = 12
"""At the end of a log; CUDA's errors have several."""
Start = Callable[[Step, Path, Path, float], list[str]]
"""The command of a step: of its JSON, its scratch folder and its seconds."""


@dataclass(frozen=True)
class Day:
    """Where a day's files are, and how long it may take."""

    out: Path
    """What comes back: few files, packed after every step."""
    work: Path
    """Everything; a second call on the same machine goes on from it."""
    seconds: float
    settings: Settings = field(default_factory=Settings)
    begun: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds for steps."""
        return self.seconds - PACKING_S - (time.monotonic() - self.begun)


def run_day(
    day: Day,
    steps: Sequence[Step],
    *,
    again: bool = False,
    say: Callable[[str], Any] = print,
    start: Start | None = None,
) -> States:
    """Run what is not over yet, in the order given, and pack the results after every step.

    `again` also runs steps that are over. `start` replaces the steps' own commands. FileExistsError if another process
    works in `day.work`.
    """
    with locked(day.work), _ended_by_signals():
        runner = _Runner(day, _found(day, steps), _environment(day), start)
        for step in steps:
            record = runner.states.of(step.name)
            limit = step.limit_s * (REHEARSED_SLOWER if day.settings.rehearse else 1)
            seconds = day.left() if step.takes_the_rest else min(limit, day.left())
            if record.is_over and not again:
                say(f"{step.name:10} {record.state} in an earlier call")
            elif seconds < step.least_s:
                say(f"{step.name:10} waits: {max(0.0, seconds):.0f} s are left, it takes {step.least_s:.0f}")
            else:
                say(f"{step.name:10} runs, for {seconds:.0f} s at most: {step.what}")
                runner.run(step, seconds)
                why = f": {record.why}" if record.why else ""
                say(f"{step.name:10} {record.state} after {record.seconds:.0f} s{why}")
        for name in pack_results(day.work, day.out, runner.states):
            say(f"{name} does not fit what comes back and stays in {day.work}")
        return runner.states


def _found(day: Day, steps: Sequence[Step]) -> States:
    """The states in the working folder, else those that were carried back; a rehearsal's count in a rehearsal only."""
    path, earlier = day.work / RESULTS, day.settings.carried / EARLIER / RESULTS if day.settings.carried else None
    records = read_states(path).records
    if not records and earlier is not None:
        again = [step.name for step in steps if step.on_every_machine]
        records = {name: record for name, record in read_states(earlier).records.items() if name not in again}
    same = {
        name: record
        for name, record in records.items()
        if record.result is None or record.result.get("stand_in", False) == day.settings.rehearse
    }
    return States(path, same)


@dataclass(frozen=True)
class _Runner:
    """Runs single steps of a day."""

    day: Day
    states: States
    environment: dict[str, str]
    start: Start | None

    def run(self, step: Step, seconds: float) -> None:
        """Run a step to its end or to its limit, and record what became of it."""
        record, out = self.states.of(step.name), self.day.work / f"{step.name}.json"
        before = record.result
        out.unlink(missing_ok=True)
        record.state, record.tries, record.why = "running", record.tries + 1, ""
        self.states.write()
        begun, log = time.monotonic(), self.day.work / f"{step.name}.log"
        with log.open("ab") as file:
            # A group of its own is killed whole; a session of its own would outlive a killed runner.
            process = subprocess.Popen(  # noqa: S603
                self._command(step, out, seconds),
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                preexec_fn=_in_a_group_of_its_own,  # noqa: PLW1509 - the runner has one thread
            )
            try:
                code = _waited(process, seconds, lambda: self._take_figures(record, out))
            finally:
                _kill_group(process)
        record.seconds = round(time.monotonic() - begun, 1)
        _judge(step, record, code, log)
        self._take_figures(record, out)
        if record.state != "done" and len(before or {}) > len(record.result or {}):
            record.result = before  # a second try that came less far takes nothing away
            self._take_figures(record, None)

    def _command(self, step: Step, out: Path, seconds: float) -> list[str]:
        scratch = self.day.work / step.name
        if self.start is not None:
            return self.start(step, out, scratch, seconds)
        return self.day.settings.command(step, out, scratch, seconds)

    def _take_figures(self, record: Record, out: Path | None) -> None:
        """Enter the step's JSON as it stands into the results, if there is one, and pack them."""
        try:
            if out is not None:
                record.result = read_json(out, LARGEST) if out.is_file() else None
        except ValueError as error:  # of this step alone
            record.why = f"{record.why} {error}".strip()
        self.states.write()
        with contextlib.suppress(OSError, ValueError):  # the last packing of the day tells
            pack_results(self.day.work, self.day.out, self.states)


def _judge(step: Step, record: Record, code: int | None, log: Path) -> None:
    """The state of a step that ended with an exit code, or None at its limit."""
    words = _last_words(log)
    if code is None:
        record.state = "paused" if step.takes_the_rest else "cut"
        record.why = f"its limit of {record.seconds:.0f} s"
    elif code == 0:
        record.state = "done"
    elif code == PAUSED_CODE:
        record.state, record.why = "paused", words.removeprefix("paused: ")
    elif code == ABSENT_CODE:
        record.state, record.why = "absent", words.removeprefix("absent: ")
    else:
        record.state, record.why = "failed", f"exit code {code}: {words}"


def _waited(process: subprocess.Popen[bytes], seconds: float, refresh: Callable[[], None]) -> int | None:
    """Exit code of a process; None if it did not end in time."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            return process.wait(min(left, REFRESH_S))
        except subprocess.TimeoutExpired:
            if left > REFRESH_S:
                refresh()
    return None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a step and all that it started; what ignores SIGTERM is killed, what a driver holds is not waited for."""
    for number, wait in ((signal.SIGTERM, GRACE_S if process.poll() is None else 0), (signal.SIGKILL, KILLED_S)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(wait)


def _in_a_group_of_its_own() -> None:
    """In the child before its program: a new process group, and death with the runner, even by SIGKILL (Linux)."""
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM ends the runner as Ctrl-C does: the running step is killed first."""

    def end(number: int, _: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _environment(day: Day) -> dict[str, str]:
    """The steps' environment: the carried wheels installed, and this package on the path."""
    site, source = day.work / "site", day.work / "source"
    source.mkdir(parents=True, exist_ok=True)
    link = source / "lehrnet"
    if not link.is_symlink():
        link.symlink_to(ROOT)
    wheels = sorted((day.settings.carried / WHEELS).glob("*.whl")) if day.settings.carried else []
    if wheels and not site.is_dir():
        _install(wheels, site, day.work / "wheels.log")
    stand_ins = [_named_absent(day.work / "absent", name) for name in ("cv2", "tqdm") if find_spec(name) is None]
    path = [str(source), *([str(site)] if site.is_dir() else []), *stand_ins]
    path += [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1"}


def _install(wheels: Sequence[Path], site: Path, log: Path) -> None:
    """Unpack carried wheels into a folder, without an index; a failure costs only the steps that need them."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    command += ["--target", str(site.with_suffix(".new")), *map(str, wheels)]
    try:
        with log.open("wb") as file:
            subprocess.run(command, stdout=file, stderr=file, check=True, timeout=INSTALLING_S)  # noqa: S603
        site.with_suffix(".new").rename(site)
    except (subprocess.SubprocessError, OSError):
        shutil.rmtree(site.with_suffix(".new"), ignore_errors=True)


def _named_absent(folder: Path, package: str) -> str:
    """A folder with a module that stands for a missing package: it imports, and says what is missing when it is used.

    So steps that import OpenCV on the way, but compute in PyTorch alone, run without it.
    """
    text = (
        "STANDS_FOR_NOTHING = True\n\n\n"
        "def __getattr__(name):\n"
        '    if name.startswith("__"):\n'
        "        raise AttributeError(name)\n"
        f'    raise ImportError("{package} is not installed here")\n'
    )
    write_text(folder / package / f"{package}.py", text)
    return str(folder / package)


def _last_words(log: Path) -> str:
    """The last line of a log that names an error, else the last one that says something; shortened."""
    text = log.read_bytes()[-LAST_WORDS:].decode("utf-8", errors="replace") if log.is_file() else ""
    lines = [line.strip()[:300] for line in text.splitlines() if line.strip()]
    said = [line for line in lines[-LINES_OF_AN_ERROR:] if SAYS_WHY.match(line)]
    return said[-1] if said else lines[-1] if lines else "it said nothing"

"""`lehrnet batch` on many pictures: rate beside one process of `predict`, memory, kills of a worker and the driver.

    python -m lehrnet.benchmarks.studies.archive BUNDLE PHOTOGRAPHS --out benchmarks/results/archive_cpu.json

The photographs are repeated under new names, by hard links. Linux only: memory and processes are read from /proc.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..machine import core_count
from ..results import write_result

WORKERS, PART = 2, 50
STEP_S = 0.2
Watch = Callable[[subprocess.Popen[str]], None]


def measure(bundle: Path, photographs: Path, count: int, shared: str, *, ray: bool) -> dict[str, Any]:
    """Seconds and resident memory of each run, and what is there after the kills."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _repeat(photographs, folder / "archive", count)
        predict = _run("predict", bundle, folder / "archive", "--json", folder / "predicted.json", "--device", "cpu")

        def batch(out: str, workers: int, *more: object, watch: Watch | None = None) -> dict[str, Any]:
            options = ("--out", folder / out, "--workers", workers, "--part", PART, "--device", "cpu", *more)
            return _run("batch", folder / "archive", "--bundle", bundle, *options, watch=watch)

        runs = {
            "predict": predict,
            "batch_1_worker": batch("one", 1),
            f"batch_{WORKERS}_workers": batch("two", WORKERS),
        }
        killed = batch("killed", WORKERS, watch=_killer(folder / "killed", count // PART))
        parts = len(list((folder / "killed").glob("*.images.json")))
        resumed = batch("killed", WORKERS)
        if ray:
            runs["batch_2_actors_of_ray"] = batch("ray", WORKERS, "--engine", "ray")
        wanted = _keypoints(json.loads((folder / "predicted.json").read_text(encoding="utf-8")))
        return {
            "pictures": count,
            "of_which_different": len({path.stat().st_ino for path in (folder / "archive").iterdir()}),
            "cores": core_count(),
            "shared_machine": shared,
            "load_average": os.getloadavg(),
            "runs": runs,
            "killed": {**killed, "parts_there": parts, "parts": -(-count // PART)},
            "resumed": resumed,
            "equal_to_predict": {
                out.name: _results(out) == wanted for out in sorted(folder.iterdir()) if (out / "_job.json").exists()
            },
            "each_once": all(times == 1 for times in _names(folder / "killed").values()),
        }


def _repeat(photographs: Path, folder: Path, count: int) -> None:
    """Fill a folder with hard links to copies of the photographs."""
    folder.mkdir()
    originals = sorted(path for path in photographs.rglob("*.jpg"))
    for index in range(count):
        target = folder / f"{index + 1:06d}.jpg"
        if index < len(originals):
            shutil.copyfile(originals[index], target)
        else:
            os.link(folder / f"{index % len(originals) + 1:06d}.jpg", target)


def _run(*arguments: object, watch: Watch | None = None) -> dict[str, Any]:
    """Run a command; seconds, exit code, its last line, and the resident memory of all its processes over time."""
    command, started, memory = [sys.executable, "-m", "lehrnet", *map(str, arguments)], time.monotonic(), []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603
    while process.poll() is None:
        memory.append(round(sum(map(_resident_mib, [process.pid, *_children(process.pid)])), 1))
        if watch is not None:
            watch(process)
        time.sleep(STEP_S)
    told = process.communicate()[0].strip().splitlines()
    quarter = memory[len(memory) // 4 :]
    return {
        "seconds": round(time.monotonic() - started, 1),
        "exit_code": process.returncode,
        "said": re.sub(r"/\S+", "...", told[-1]) if told else "",
        "mib": {"after_a_quarter": quarter[0], "at_the_end": quarter[-2:][0], "most": max(memory)},
    }


def _killer(out: Path, parts: int) -> Watch:
    """Kill a worker when a fifth of the parts is there, and the driver when half of them are."""
    done: list[str] = []

    def watch(driver: subprocess.Popen[str]) -> None:
        written = len(list(out.glob("*.images.json")))
        if not done and written >= max(parts // 5, 1):
            os.kill(workers_of(driver.pid)[0], signal.SIGKILL)
            done.append("worker")
        elif len(done) == 1 and written >= parts // 2:
            driver.kill()
            done.append("driver")

    return watch


def _children(pid: int) -> list[int]:
    try:
        listed = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except OSError:
        return []
    return [each for child in listed for each in (child, *_children(child))]


def workers_of(pid: int) -> list[int]:
    """Worker processes of a run's pool: children with our pipe."""
    commands = {each: Path(f"/proc/{each}/cmdline").read_text(encoding="utf-8") for each in _children(pid)}
    return [each for each, command in commands.items() if "spawn_main" in command]


def _resident_mib(pid: int) -> float:
    try:
        return (
            int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
        )
    except OSError:
        return 0.0


def _keypoints(results: list[dict[str, Any]]) -> list[Any]:
    return sorted([each["file_name"], each["keypoints"], each["bbox"], each["score"]] for each in results)


def _results(out: Path) -> list[Any]:
    files = sorted(out.glob("part-?????.json"))
    return _keypoints([each for path in files for each in json.loads(path.read_text(encoding="utf-8"))])


def _names(out: Path) -> Counter[str]:
    files = sorted(out.glob("*.images.json"))
    images = [json.loads(path.read_text(encoding="utf-8"))["images"] for path in files]
    return Counter(image["file_name"] for part in images for image in part)


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description="lehrnet batch on many pictures.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--ray", action="store_true", help="by Ray, too")
    parser.add_argument("--shared", default="not said", help="who else was at work on this machine")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    facts = measure(options.bundle, options.photographs, options.count, options.shared, ray=options.ray)
    write_result(options.out, "python -m lehrnet.benchmarks.studies.archive BUNDLE PHOTOGRAPHS", facts)


if __name__ == "__main__":
    main()

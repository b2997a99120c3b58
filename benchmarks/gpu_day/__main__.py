"""All measurements of a borrowed GPU in one command; see docs/gpu-day.md.

python -m lehrnet.benchmarks.gpu_day --out FOLDER --carry .gpu_day
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from .runner import Day, run_day
from .steps import ROOT, STEPS, Settings, by_worth

WORK, REHEARSED = ROOT / "build" / "gpu_day", ROOT / "build" / "gpu_day_rehearsed"


def main(arguments: list[str] | None = None) -> int:
    """Run the day; 0 when no step failed, 1 otherwise, 2 for a wrong call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="what comes back: at most 8 files")
    parser.add_argument("--minutes", type=float, default=9.0, help="time for everything (%(default)s)")
    parser.add_argument("--only", metavar="STEP,...", help=f"of {', '.join(step.name for step in STEPS)}; also if over")
    parser.add_argument("--rehearse", action="store_true", help="without a GPU: every step on stand-ins, tiny")
    parser.add_argument(
        "--train-minutes", type=float, default=Settings.train_minutes, help="of the training in all calls (%(default)s)"
    )
    parser.add_argument("--carry", type=Path, metavar="FOLDER", help="what `gpu_day.carry` made: wheels, pack, results")
    parser.add_argument(
        "--work", type=Path, metavar="FOLDER", help=f"everything; a later call goes on (build/{WORK.name})"
    )
    options = parser.parse_args(arguments)
    try:
        steps = by_worth(tuple(options.only.split(",")) if options.only else ())
        _check(options)
        day = Day(
            options.out.resolve(),
            (options.work or (REHEARSED if options.rehearse else WORK)).resolve(),
            60 * options.minutes,
            Settings(options.carry.resolve() if options.carry else None, options.rehearse, options.train_minutes),
        )
        states = run_day(day, steps, again=options.only is not None)
    except (OSError, ValueError) as error:
        print(f"gpu_day: {error}", file=sys.stderr)
        return 2
    return int(any(states.of(step.name).state == "failed" for step in steps))


def _check(options: argparse.Namespace) -> None:
    if not 0 < options.minutes < 24 * 60:
        raise ValueError(f"--minutes is {options.minutes}, expected a time above 0 and below a day")
    if not options.train_minutes > 0:
        raise ValueError(f"--train-minutes is {options.train_minutes}, expected a time above 0")
    if options.carry is not None and not options.carry.is_dir():
        raise ValueError(f"--carry {options.carry} is no folder; `python -m lehrnet.benchmarks.gpu_day.carry` makes it")
    if not options.rehearse and not _has_gpu():
        raise ValueError("nvidia-smi finds no GPU here; --rehearse runs every step on stand-ins")


def _has_gpu() -> bool:
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    done = subprocess.run([program, "-L"], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    return done.returncode == 0 and "GPU" in done.stdout


if __name__ == "__main__":
    sys.exit(main())

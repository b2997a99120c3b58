"""Run one step in this process: `python -m lehrnet.benchmarks.gpu_day.work STEP --out FILE --scratch FOLDER`."""

import argparse
import logging
import sys
from importlib import import_module
from pathlib import Path

from ..states import ABSENT_CODE, PAUSED_CODE
from ..steps import PACKAGE, Settings, Step, by_worth


def main(arguments: list[str] | None = None) -> int:
    """Run the step; 0 when it is done, ABSENT_CODE where it lacks something, PAUSED_CODE where it is to go on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--carried", type=Path)
    parser.add_argument("--train-minutes", type=float, default=Settings.train_minutes)
    parser.add_argument("--stand-in", action="store_true")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)6.0f %(name)s: %(message)s")
    (step,) = by_worth((options.step,))
    options.scratch.mkdir(parents=True, exist_ok=True)
    missing = [name for name in step.needs if not _is_here(name)]
    try:
        if missing:
            raise ImportError(f"not installed here: {', '.join(missing)}")
        return _work(step, options)
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "lehrnet":
            raise
        print(f"absent: {error}", file=sys.stderr)
        return ABSENT_CODE


def _work(step: Step, options: argparse.Namespace) -> int:
    from .job import AbsentError, Job, PausedError  # noqa: PLC0415 - loads OpenCV, whose absence is reported

    settings = Settings(options.carried, options.stand_in, options.train_minutes)
    job = Job(step.name, options.out, options.scratch, options.seconds, settings)
    module = import_module(f"{PACKAGE}.work.{step.module}")
    try:
        job.keep(stand_in=job.stand_in)
        module.work(job)
    except AbsentError as error:
        print(f"absent: {error}", file=sys.stderr)
        return ABSENT_CODE
    except PausedError as error:
        print(f"paused: {error}", file=sys.stderr)
        return PAUSED_CODE
    return 0


def _is_here(package: str) -> bool:
    try:
        found = import_module(package)
    except ImportError:
        return False
    return not getattr(found, "STANDS_FOR_NOTHING", False)


if __name__ == "__main__":
    sys.exit(main())

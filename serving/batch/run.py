"""A run over an archive: what is written already is checked and kept, the rest is done, everything is counted."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

from ...files import locked, write_text
from ...parsing import read_json
from ..log_lines import log_line
from .archive import Archive, Part
from .on_ray import check_ray_is_there, run_ray
from .parts import check_parquet_is_there, check_part
from .pool import run_pool
from .rows import Done
from .step import Job

log = logging.getLogger(__name__)

Engine = Literal["local", "ray"]
JOB = "_job.json"
"""Readers of a folder of Parquet pass over names that begin so."""
FORMAT = "lehrnet-batch-1"


@dataclass
class Counts:
    """What a run did."""

    parts: int = 0
    kept: int = 0
    """Of these, how many stood there already."""
    rows: int = 0
    people: int = 0
    errors: int = 0
    seconds: float = 0.0

    def add(self, done: Done) -> None:
        """Count a part."""
        self.parts, self.rows = self.parts + 1, self.rows + done.rows
        self.people, self.errors = self.people + done.people, self.errors + done.errors


def run_batch(
    archive: Archive,
    job: Job,
    facts: dict[str, Any],
    *,
    engine: Engine = "local",
    workers: int = 1,
    gpus: float = 0.0,
    log_json: IO[str] | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> Counts:
    """Do an archive, part by part, into the folder `job.out`; what an earlier run wrote there is checked and kept.

    `facts` is what a run must have in common with the one that began the folder, besides the archive: hashes of bundle
    and detector, and settings. `log_json` gets a line for each part, `progress` the rows that are new.

    Raises:
        FileExistsError: another process is at work in the folder, or it holds something else.
        ValueError: the folder holds the results of another bundle, archive or setting.
        ImportError: Ray or pyarrow are missing.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}, expected at least 1")
    if engine == "ray":
        check_ray_is_there()
    if job.form == "parquet":
        check_parquet_is_there()
    _check_folder(job.out)
    started, counts = time.monotonic(), Counts()
    with locked(job.out):
        _begin(job.out, {"format": FORMAT, "archive": archive.digest, "form": job.form, **facts})
        unfinished = []
        for part in archive.parts:
            done = _checked(job, part)
            if done is None:
                unfinished.append(part)
                continue
            counts.add(done)
            counts.kept += 1
            progress(done.rows)
        chains = archive.chains(unfinished, workers)
        for done in _run(engine, job, chains, workers, gpus) if chains else ():
            counts.add(done)
            progress(done.rows)
            if log_json is not None:
                print(log_line(_facts(done)), file=log_json, flush=True)
    counts.seconds = time.monotonic() - started
    return counts


def _run(engine: Engine, job: Job, chains: list[Any], workers: int, gpus: float) -> Iterator[Done]:
    return run_ray(job, chains, workers, gpus) if engine == "ray" else run_pool(job, chains, workers)


def _facts(done: Done) -> dict[str, Any]:
    """What the log says of a part."""
    return {**asdict(done), "seconds": round(done.seconds, 3)}


def _checked(job: Job, part: Part) -> Done | None:
    """What an earlier run wrote of a part; None if it is to be done, also because what it wrote is damaged."""
    try:
        return check_part(job.out, part, job.form)
    except ValueError as error:
        log.warning("%s; this part is done again", error)
        return None


def _check_folder(out: Path) -> None:
    """Raise FileExistsError for a folder that holds something else than a run's results."""
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file, expected a folder for the results")
    if out.is_dir() and not (out / JOB).exists():
        foreign = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
        if foreign:
            raise FileExistsError(f"{out} holds {foreign[0]!r} and no {JOB}: no run began it; choose another folder")


def _begin(out: Path, facts: dict[str, Any]) -> None:
    """Write what a run is, or compare it with what began the folder."""
    path = out / JOB
    if not path.exists():
        write_text(path, json.dumps(facts, indent=1) + "\n")
        return
    before = read_json(path)
    if not isinstance(before, dict):
        raise ValueError(f"{path} does not say what began this folder; choose another folder")
    other = [name for name in {**before, **facts} if before.get(name) != facts.get(name)]
    if other:
        raise ValueError(
            f"{out} was begun with another {' and another '.join(other)}: a run goes on only as it began; "
            "choose another folder"
        )

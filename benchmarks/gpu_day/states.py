"""The states of a day's steps: one JSON file, written whole after every change."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ...files import write_text
from ...parsing import parse, read_json
from ..result_format import FORMAT

RESULTS = "results.json"
COMMIT = "commit"
"""In the carried folder: the checkout's commit, which the files that travel do not tell."""
COMMAND = "python -m lehrnet.benchmarks.gpu_day"
LARGEST = 64 << 20  # bytes
ABSENT_CODE, PAUSED_CODE = 5, 6
"""Exit codes of a step that lacks something, and of one that a later call is to go on with."""
MOST_TRIES = 2
"""A step that failed or was cut runs again in the next call, until it was tried so often; `--only` always runs it."""

State = Literal["waiting", "running", "done", "absent", "failed", "cut", "paused"]
"""cut: its time limit ended it, and the figures until then stand; paused: a later call goes on with it."""


@dataclass
class Record:
    """What became of a step."""

    state: State = "waiting"
    tries: int = 0
    seconds: float = 0.0
    why: str = ""
    """The reason, for the states absent and failed."""
    result: dict[str, Any] | None = None
    """The step's own JSON."""

    @property
    def is_over(self) -> bool:
        """Whether a later call leaves the step out."""
        return self.state == "done" or (self.state in ("failed", "cut") and self.tries >= MOST_TRIES)


class States:
    """The records of all steps, by name, kept in a file."""

    def __init__(self, path: Path, records: dict[str, Record] | None = None) -> None:
        self.path, self.records = path, records or {}

    def of(self, step: str) -> Record:
        """The record of a step."""
        return self.records.setdefault(step, Record())

    def facts(self) -> dict[str, Any]:
        """All records, in the form of a result."""
        machine = next((record.result["machine"] for record in self.records.values() if record.result), {})
        steps = {name: asdict(record) for name, record in self.records.items()}
        return {"format": FORMAT, "command": COMMAND, "machine": machine, "gpu_day": {"steps": steps}}

    def write(self, **more: Any) -> None:
        """Write the file atomically, with more facts about the day."""
        facts = self.facts()
        facts["gpu_day"] |= more
        write_text(self.path, json.dumps(facts, indent=1) + "\n")


def read_states(path: Path) -> States:
    """The states in a file; none if it is missing. A step that was running when its runner died counts as cut."""
    if not path.is_file():
        return States(path)
    steps = read_results(path)["steps"]
    records = {name: parse(Record, facts, name) for name, facts in steps.items()}
    for record in records.values():
        if record.state == "running":
            record.state, record.why = "cut", "the runner ended before it"
    return States(path, records)


def read_results(path: Path) -> dict[str, Any]:
    """The facts of a day; ValueError for another kind of file."""
    content = read_json(path, LARGEST)
    day = content.get("gpu_day") if isinstance(content, dict) else None
    if not isinstance(day, dict) or not isinstance(day.get("steps"), dict):
        raise ValueError(f"{path} is not of a GPU's day; `{COMMAND} --out FOLDER` writes FOLDER/{RESULTS}")
    return day

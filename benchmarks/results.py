"""Results as JSON files: the figures, the command that made them and the machine."""

import json
from pathlib import Path
from typing import Any

from ..pose.files import replacing
from .machine import machine_facts

FORMAT = "lehrnet-result-1"


def write_result(path: Path, command: str, figures: dict[str, Any]) -> None:
    """Write a result, whole or not at all."""
    content = result_of(command, figures)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def result_of(command: str, figures: dict[str, Any]) -> dict[str, Any]:
    """A result as it is written."""
    return {"format": FORMAT, "command": command, "machine": machine_facts(), **figures}

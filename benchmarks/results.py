"""Result files in JSON: figures, command and machine."""

import json
from pathlib import Path
from typing import Any

from ..files import write_text
from .machine import machine_facts
from .result_format import FORMAT

__all__ = ["FORMAT", "result_of", "write_result"]


def write_result(path: Path, command: str, figures: dict[str, Any]) -> None:
    """Write a result atomically."""
    write_text(path, json.dumps(result_of(command, figures), indent=1) + "\n")


def result_of(command: str, figures: dict[str, Any]) -> dict[str, Any]:
    """A result in the form in which it is written."""
    return {"format": FORMAT, "command": command, "machine": machine_facts(), **figures}

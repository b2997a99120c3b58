"""What a sub-command is, and how its arguments are read."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CHECK_FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


@dataclass(frozen=True)
class Command:
    """A sub-command."""

    name: str
    text: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def folders(text: str) -> list[Path]:
    """Comma-separated paths."""
    return [Path(name) for name in text.split(",")]


def size(text: str) -> tuple[int, int]:
    """Height and width of "256x192"."""
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, such as 256x192")
    return int(height), int(width)


def shares(text: str) -> dict[str, float]:
    """The numbers of "coco=2,lspe=0.5"."""
    pairs = [pair.partition("=") for pair in text.split(",")]
    try:
        return {name: float(number) for name, _, number in pairs}
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER,NAME=NUMBER") from error


def bundle_or_default(path: Path | None) -> Path:
    """The bundle named, or the shipped default's."""
    if path is not None:
        return path
    try:
        from ..export.default import default_bundle
    except ImportError as error:
        raise ImportError(
            f"no bundle was named, and the shipped weights become one only with the export tools ({error}); "
            "pip install 'lehrnet[export]', or name a bundle"
        ) from error
    return default_bundle()

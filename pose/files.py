"""Reading and writing files so that an error names its file and a failure leaves nothing half-written."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to; when the block ends without an error the file takes the place of `path`, else it is gone."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """A folder to fill; when the block ends without an error it becomes `folder`, else it is gone.

    FileExistsError where `folder` stands already.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists already; remove it or choose another")
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a JSON file's content into one ValueError that names the file."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        reason = f"an entry lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: {reason}") from error


def tupled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's lists, however deep, as the tuples that frozen dataclasses hold."""
    return {name: _tuple(value) for name, value in fields.items()}


def _tuple(value: Any) -> Any:
    return tuple(_tuple(item) for item in value) if isinstance(value, list) else value

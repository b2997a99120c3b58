"""The files that come back from a borrowed machine: at most eight of at most 16 MiB, in one folder."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

from ...files import atomic_file, write_bytes
from .states import RESULTS, States

MIB = 1 << 20
MOST_FILES = 8
LARGEST_FILE = 16 * MIB
LARGEST_ALL = 64 * MIB
LARGEST_RESULTS = 4 * MIB
"""Of the JSON with all figures."""
LOGS = "logs.zip"
LAST_WORDS = 1 * MIB
"""Bytes of a log's end that are kept."""
KEEP = "keep"
"""Folder of the working folder whose files come back, such as weights."""


def pack_results(work: Path, out: Path, states: States) -> list[str]:
    """Write results, logs and kept files of a day to `out`; return the names of files that do not fit.

    A file of over LARGEST_FILE is split into NAME.part0, NAME.part1, ...: `cat NAME.part* > NAME` joins them.
    """
    out.mkdir(parents=True, exist_ok=True)
    _write_logs(work, out / LOGS)
    room, files = LARGEST_ALL - LARGEST_RESULTS - (out / LOGS).stat().st_size, MOST_FILES - 2
    left_behind = []
    kept = [
        path for path in (work / KEEP).glob("*") if path.is_file()
    ]  # not the scratch folder of a file in the making
    for path in sorted(kept):
        size = path.stat().st_size
        parts = max(1, -(-size // LARGEST_FILE))
        if size > room or parts > files:
            left_behind.append(path.name)
            continue
        room, files = room - size, files - parts
        _copy(path, out)
    states.write(left_behind=left_behind)
    content = states.path.read_bytes()
    if len(content) > LARGEST_RESULTS:
        raise ValueError(f"{states.path} has {len(content)} bytes, expected at most {LARGEST_RESULTS}: keep less")
    write_bytes(out / RESULTS, content)
    return left_behind


def join_parts(folder: Path, name: str) -> bytes:
    """The content of a file that came back whole or in parts; FileNotFoundError if a part is missing."""
    if (folder / name).is_file():
        return (folder / name).read_bytes()
    parts = [folder / f"{name}.part{number}" for number in range(len(list(folder.glob(f"{name}.part*"))))]
    if not parts:
        raise FileNotFoundError(f"neither {name} nor its parts are in {folder}")
    return b"".join(part.read_bytes() for part in parts)


def _copy(path: Path, out: Path) -> None:
    """Copy a kept file, in parts if it is large; one that came back already is left as it is."""
    size, parts = path.stat().st_size, list(_parts(path))
    for number, content in enumerate(parts):
        target = out / (path.name if len(parts) == 1 else f"{path.name}.part{number}")
        if not target.is_file() or target.stat().st_mtime_ns < path.stat().st_mtime_ns or size > LARGEST_FILE:
            write_bytes(target, content)


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while content := file.read(LARGEST_FILE):
            yield content


def _write_logs(work: Path, path: Path) -> None:
    """A ZIP file with the ends of all logs."""
    with atomic_file(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for log in sorted(work.glob("*.log")):
            archive.writestr(log.name, log.read_bytes()[-LAST_WORDS:])


def unpack_kept(folder: Path, name: str, target: Path) -> bool:
    """Copy a file that came back to `target`, joined if it is in parts; False if it is not there."""
    try:
        content = join_parts(folder, name)
    except FileNotFoundError:
        return False
    write_bytes(target, content)
    return True


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder; 0 if it is missing."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0

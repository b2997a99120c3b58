"""Atomic writing of files and folders, used for everything that lehrnet writes.

A file is written in a private, locked scratch folder `.NAME.RANDOM.unfinished` beside its final path and then renamed.
A killed writer leaves its scratch folder behind; the next writer of the same path finds it unlocked and removes it.
"""

import ctypes
import errno
import json
import logging
import os
import platform
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: no locks, hence no removal of killed writers' scratch folders
    fcntl = None

log = logging.getLogger(__name__)

UNFINISHED = ".unfinished"
OWNER = "owner.json"
LONGEST_NAME = 150  # characters of the final name in a scratch folder's name
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_seen: dict[Path, list[Path]] = {}
"""Scratch folders that existed in a folder when this process first wrote to it, by folder."""
_AT_FDCWD, _NO_REPLACE, _EXCHANGE = -100, 1, 2  # renameat2(2)


class NoRoomError(OSError):
    """The disk is full; nothing was changed."""

    def __init__(self, path: Path, wanted: int) -> None:
        self.wanted = wanted
        free = shutil.disk_usage(path.parent if path.parent.is_dir() else Path.cwd()).free
        super().__init__(
            f"no room for {path}: it takes at least {wanted / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free; "
            "nothing was changed. Free some space, or write elsewhere"
        )


@contextmanager
def atomic_file(path: Path, size: int | None = None) -> Iterator[Path]:
    """Yield a scratch path to write to; it replaces `path` if the block ends without an error, else it is removed.

    A link at `path` is replaced, not followed. A device or a pipe, such as /dev/stdout, is written to. Missing parent
    folders are made. `size` is the number of bytes to be written, if known. OSError names the path, and the space
    needed if the disk is full.
    """
    if _is_special(path):
        with _scratch(Path(tempfile.gettempdir()) / path.name) as scratch:
            yield scratch / path.name
            with (scratch / path.name).open("rb") as written, path.open("wb") as special:
                shutil.copyfileobj(written, special)
        return
    if path.is_dir() and not path.is_symlink():
        raise IsADirectoryError(f"{path} is a folder, expected the name of a file to write")
    with _scratch(path, size=size) as scratch:
        unfinished = scratch / path.name
        yield unfinished
        unfinished.chmod(_mode(scratch))  # some libraries create files that only the owner can read
        unfinished.replace(path)


@contextmanager
def atomic_folder(folder: Path, replaceable: Callable[[Path], bool] = lambda _: False) -> Iterator[Path]:
    """Yield a scratch folder to fill; it becomes `folder` if the block ends without an error, else it is removed.

    A folder that exists already, or that appears meanwhile, is replaced if `replaceable(folder)` is true; until then it
    stays complete. Otherwise FileExistsError is raised, as it is if another process is writing the same folder. A link
    to a folder stays a link.
    """
    folder = folder.resolve()
    if _exists(folder) and not replaceable(folder):
        raise FileExistsError(f"{folder} exists already; remove it or choose another")
    if folder.is_mount():
        raise OSError(f"{folder} is a mount point, which cannot be replaced whole; write into a folder below it")
    with _scratch(folder, alone=True) as scratch:
        unfinished = scratch / folder.name
        unfinished.mkdir()
        yield unfinished
        _take_place(unfinished, folder, replaceable)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with atomic_file(path, len(content)) as unfinished:
        unfinished.write_bytes(content)


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Lock a folder for this process; it is made if missing.

    Without `wait`, FileExistsError names the process and machine that hold the lock. The lock ends with the process.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot write {folder}: {error.strerror}; choose a place that can be written") from error
    with (folder / ".lock").open("a+", encoding="utf-8") as file:
        if _lock(file.fileno(), wait=wait) is False:
            file.seek(0)
            raise FileExistsError(f"{folder} is in use by {_owner(file.read())}; wait for it, or choose another folder")
        file.truncate(0)
        file.write(_facts())
        file.flush()
        yield


def remove_unfinished(paths: Iterable[Path]) -> None:
    """Remove scratch folders that killed writers of these paths left; those of active writers are kept."""
    for path in paths:
        if path.parent.is_dir():
            with _held(path.parent):
                _sweep(path)


def refuse_inputs(outputs: dict[str, Path | None], inputs: list[Path | None]) -> None:
    """Raise ValueError if an output is an input file, or a file in an input folder.

    `outputs` holds paths by option name. Paths are resolved first, including links.
    """
    for name, output in outputs.items():
        if output is None or not output.exists() or _is_special(output):
            continue
        for given in inputs:
            if given is None or not given.exists():
                continue
            within = given.is_dir() and output.is_file() and output.resolve().is_relative_to(given.resolve())
            if within or (given.is_file() and output.samefile(given)):
                raise ValueError(f"{name} {output} would overwrite one of the inputs ({given}); choose another name")


@contextmanager
def _scratch(path: Path, *, alone: bool = False, size: int | None = None) -> Iterator[Path]:
    """Yield a private scratch folder for `path`, removed at the end; with `alone`, other active writers are refused.

    `size` is the number of bytes to be written, if known.
    """
    others, descriptor = [], -1
    scratch = path.with_name(f".{path.name[:LONGEST_NAME]}.{secrets.token_hex(8)}{UNFINISHED}")
    try:  # starts before the folder is made, since a signal may come at any moment
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _held(path.parent):
                if alone:
                    others = _sweep(path)
                else:  # list the folder once per process, not once per file
                    if path.parent not in _seen:
                        _seen[path.parent] = list(path.parent.glob(f".*{UNFINISHED}"))
                    _sweep(path, _seen[path.parent])
                if not others:
                    scratch.mkdir(mode=0o700)
                    descriptor = os.open(scratch, os.O_RDONLY)
                    _lock(descriptor)
                    if alone:
                        (scratch / OWNER).write_text(_facts(), encoding="utf-8")
        except OSError as error:
            raise OSError(f"cannot write {path}: {error.strerror}; choose a place that can be written") from error
        if others:
            raise FileExistsError(f"{path} is being written by {others[0]}; wait for it, or choose another name")
        yield scratch
    except Exception as error:
        if not is_full(error):
            raise
        written = sum(each.stat().st_size for each in scratch.rglob("*") if each.is_file())
        inner = error.wanted if isinstance(error, NoRoomError) else 0
        shutil.rmtree(scratch, ignore_errors=True)
        raise NoRoomError(path, max(written + inner, size or 0)) from error
    finally:
        try:
            shutil.rmtree(scratch, ignore_errors=True)
        finally:  # a signal may have interrupted the removal itself
            shutil.rmtree(scratch, ignore_errors=True)
            if descriptor >= 0:
                os.close(descriptor)


def _sweep(path: Path, listed: Iterable[Path] | None = None) -> list[str]:
    """Remove scratch folders that killed writers of `path` left; return descriptions of its active writers.

    `listed` are the scratch folders beside it, if they were listed already.
    """
    alive = []
    if fcntl is None:
        return alive
    start = f".{path.name[:LONGEST_NAME]}."
    for scratch in path.parent.glob(f".*{UNFINISHED}") if listed is None else listed:
        if not scratch.name.startswith(start):
            continue
        try:
            descriptor = os.open(scratch, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
        except OSError:  # a link, or owned by another user
            continue
        try:
            held = _lock(descriptor)
            if held:
                log.info("removing %s, which a killed process left", scratch)
                shutil.rmtree(scratch, ignore_errors=True)
            elif held is False:
                with suppress(OSError):
                    alive.append(_owner((scratch / OWNER).read_text(encoding="utf-8")))
        finally:
            os.close(descriptor)
    return alive


def _take_place(unfinished: Path, folder: Path, replaceable: Callable[[Path], bool]) -> None:
    """Rename a finished folder to its final name; a replaced one moves into the scratch folder, which is removed."""
    if not _exists(folder):
        try:
            _rename(unfinished, folder, _NO_REPLACE)
            return
        except FileExistsError:  # created by another process meanwhile
            pass
    if not replaceable(folder):
        raise FileExistsError(f"{folder} appeared while it was being written and was left as it is; choose another")
    try:
        _rename(unfinished, folder, _EXCHANGE)
    except OSError as error:
        raise OSError(f"cannot replace {folder}, which stays as it was: {error.strerror}") from error
    if not replaceable(unfinished):  # the old folder was exchanged between the check and the rename
        _rename(unfinished, folder, _EXCHANGE)
        raise FileExistsError(f"{folder} changed while it was being written and was left as it is; choose another")


def _rename(source: Path, target: Path, flag: int) -> None:
    """Rename by renameat2 if available; else by plain renames, which restore the old folder on failure."""
    libc = ctypes.CDLL(None, use_errno=True) if platform.system() == "Linux" else None
    if hasattr(libc, "renameat2"):
        assert libc is not None
        if libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flag) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.ENOSYS, errno.EINVAL):  # these mean that the file system lacks the flags
            raise OSError(code, os.strerror(code), str(target))
    if flag == _NO_REPLACE:
        if _exists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        source.rename(target)
        return
    old = source.with_name(f"{source.name}.old")
    target.rename(old)
    try:
        source.rename(target)
    except BaseException:
        old.rename(target)
        raise
    old.rename(source)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a lock under which writers list `folder` and make scratch folders in it."""
    descriptor = os.open(folder, os.O_RDONLY) if fcntl else -1
    try:
        _lock(descriptor, wait=True)
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _lock(descriptor: int, *, wait: bool = False) -> bool | None:
    """Lock a file or folder; return whether this process holds it, or None if the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _facts() -> str:
    return json.dumps({"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")})


def _owner(text: str) -> str:
    try:
        facts = json.loads(text)
        return f"process {int(facts['pid'])} on {str(facts['host'])!r} since {str(facts['since'])!r}"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _mode(scratch: Path) -> int:
    """Permissions of a new file under the umask."""
    probe = scratch / ".mode"
    probe.touch()
    return stat.S_IMODE(probe.stat().st_mode)


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _is_special(path: Path) -> bool:
    """Whether a path is a device, a pipe or a socket, which is written to instead of replaced."""
    return path.exists() and not (path.is_file() or path.is_dir())


def is_full(error: BaseException) -> bool:
    """Whether an error is due to a full disk, possibly wrapped by a library."""
    if isinstance(error, NoRoomError):
        return True
    return getattr(error, "errno", None) in NO_ROOM or "No space left" in str(error) or "os error 28" in str(error)

"""Writing files and folders: whole or not at all, whatever happens meanwhile. Everything that lehrnet writes goes here.

What is being written lies in a scratch folder beside its final name, `.NAME.RANDOM.unfinished`, which nobody else can
guess or read and which its writer holds locked. It takes the final name by one rename. A writer that is killed leaves
its scratch folder; the next one sees that nobody holds it and removes it.
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
except ImportError:  # Windows: no locks, no removal of what a killed writer left
    fcntl = None

log = logging.getLogger(__name__)

UNFINISHED = ".unfinished"
OWNER = "owner.json"
LONGEST_NAME = 150  # characters that a scratch folder has of the name
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_seen: dict[Path, list[Path]] = {}
"""By folder, the scratch folders that stood there when this process first wrote a file into it."""
_AT_FDCWD, _NO_REPLACE, _EXCHANGE = -100, 1, 2  # renameat2(2)


class NoRoomError(OSError):
    """The disk is full; nothing was changed."""

    def __init__(self, path: Path, wanted: int) -> None:
        self.wanted = wanted
        free = shutil.disk_usage(path.parent if path.parent.is_dir() else Path.cwd()).free
        super().__init__(
            f"no room for {path}: it takes at least {wanted / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free; "
            "nothing was changed. Free some, or write elsewhere"
        )


@contextmanager
def atomic_file(path: Path, size: int | None = None) -> Iterator[Path]:
    """A path to write to; when the block ends without an error the file takes the place of `path`, else it is gone.

    A link under the name is replaced, not followed. A device or a pipe, such as /dev/stdout, is written to. Missing
    parent folders are made. `size` is how many bytes will be written, where that is known. OSError says what could
    not be written, and how much room it takes where the disk is full.
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
        unfinished.chmod(_mode(scratch))  # some libraries make private files
        unfinished.replace(path)


@contextmanager
def atomic_folder(folder: Path, replaceable: Callable[[Path], bool] = lambda _: False) -> Iterator[Path]:
    """A folder to fill; when the block ends without an error it becomes `folder`, else it is gone.

    A folder that stands there, or that appears meanwhile, is replaced if `replaceable(folder)` says so and is refused
    with FileExistsError otherwise; in both cases it stays whole until the new one is. A link to a folder stays a link.
    FileExistsError also where somebody else is writing the same folder.
    """
    folder = folder.resolve()
    if _stands(folder) and not replaceable(folder):
        raise FileExistsError(f"{folder} exists already; remove it or choose another")
    if folder.is_mount():
        raise OSError(f"{folder} is a mount point, which cannot be replaced whole; write into a folder below it")
    with _scratch(folder, alone=True) as scratch:
        unfinished = scratch / folder.name
        unfinished.mkdir()
        yield unfinished
        _take_place(unfinished, folder, replaceable)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    with atomic_file(path, len(content)) as unfinished:
        unfinished.write_bytes(content)


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder for this process alone; it is made where it is missing.

    Without `wait` FileExistsError names the process and the machine that hold it. The lock ends with the process,
    however it ends.
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
    """Remove what killed writers of these files and folders left; what somebody is writing now stays."""
    for path in paths:
        if path.parent.is_dir():
            with _held(path.parent):
                _sweep(path)


def refuse_inputs(outputs: dict[str, Path | None], inputs: list[Path | None]) -> None:
    """Raise ValueError if an output is an input file, or a file that stands in an input folder.

    `outputs` are paths by the names of their options. Links and other spellings of a path are seen through.
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
    """The private scratch folder of what will be `path`, removed at the end; `alone` refuses other living ones.

    `size` is how many bytes will be written, where that is known.
    """
    others, descriptor = [], -1
    scratch = path.with_name(f".{path.name[:LONGEST_NAME]}.{secrets.token_hex(8)}{UNFINISHED}")
    try:  # from before the folder is there: a signal may come at any moment
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _held(path.parent):
                if alone:
                    others = _sweep(path)
                else:  # listed once: a folder of many files is not, for each of them
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
        shutil.rmtree(scratch, ignore_errors=True)
        if descriptor >= 0:
            os.close(descriptor)


def _sweep(path: Path, listed: Iterable[Path] | None = None) -> list[str]:
    """Remove what killed writers of `path` left; returns who else is writing it now.

    `listed` are the scratch folders beside it, where they were listed already.
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
        except OSError:  # a link, or another user's
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
    """Give a finished folder its name; what stood there goes into the scratch folder, and with it."""
    if not _stands(folder):
        try:
            _rename(unfinished, folder, _NO_REPLACE)
            return
        except FileExistsError:  # it appeared meanwhile
            pass
    if not replaceable(folder):
        raise FileExistsError(f"{folder} appeared while it was being written and was left as it is; choose another")
    try:
        _rename(unfinished, folder, _EXCHANGE)
    except OSError as error:
        raise OSError(f"cannot replace {folder}, which stays as it was: {error.strerror}") from error
    if not replaceable(unfinished):  # it was exchanged for another between the look and the rename
        _rename(unfinished, folder, _EXCHANGE)
        raise FileExistsError(f"{folder} changed while it was being written and was left as it is; choose another")


def _rename(source: Path, target: Path, flag: int) -> None:
    """renameat2 where the system has it; else renames that put the old folder back when they fail."""
    libc = ctypes.CDLL(None, use_errno=True) if platform.system() == "Linux" else None
    if hasattr(libc, "renameat2"):
        assert libc is not None
        if libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flag) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.ENOSYS, errno.EINVAL):  # a file system without these flags
            raise OSError(code, os.strerror(code), str(target))
    if flag == _NO_REPLACE:
        if _stands(target):
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
    """A moment in which no other writer looks into `folder` or makes a scratch folder in it."""
    descriptor = os.open(folder, os.O_RDONLY) if fcntl else -1
    try:
        _lock(descriptor, wait=True)
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _lock(descriptor: int, *, wait: bool = False) -> bool | None:
    """Whether this process holds the file or folder now; None where the file system knows no locks."""
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
    """What the umask leaves of a new file's permissions."""
    probe = scratch / ".mode"
    probe.touch()
    return stat.S_IMODE(probe.stat().st_mode)


def _stands(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _is_special(path: Path) -> bool:
    """A device, a pipe or a socket: it is written to, never replaced."""
    return path.exists() and not (path.is_file() or path.is_dir())


def is_full(error: BaseException) -> bool:
    """Whether a disk without room is behind an error; libraries wrap it in their own."""
    if isinstance(error, NoRoomError):
        return True
    return getattr(error, "errno", None) in NO_ROOM or "No space left" in str(error) or "os error 28" in str(error)

"""The library of fused operators: compiled once on the machine that trains, kept in the user's cache.

It takes a C++ compiler with OpenMP (g++, clang++, or what $CXX names) and no headers of PyTorch's. The compiler may use
every instruction of this processor, so the processor is a part of the file's name, as are the source and the compiler.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

from ..files import atomic_file, locked

log = logging.getLogger(__name__)

NATIVE = Path(__file__).with_name("native")
SOURCES = ("columns.cpp", "ema.cpp", "norm.cpp")
HEADERS = ("lanes.h", "ema_backward.inc")
# Sums may be regrouped into fused multiply-adds, but infinities and NaN keep their meaning.
FLAGS = ("-O3", "-std=c++17", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC")
FLAGS += ("-shared", "-fvisibility=hidden", "-Wno-psabi")
TUNING = {"x86_64": ("-march=native",), "aarch64": ("-mcpu=native",)}
LONGEST_BUILD_S = 300


@lru_cache
def fused_library() -> ctypes.CDLL | None:
    """The library; None where it cannot be had, and the log says why."""
    try:
        return ctypes.CDLL(str(_built()))
    except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
        log.warning("training without fused operators, which is slower: %s", error)
        return None


def _built() -> Path:
    """The file of the library, compiled if it is not there."""
    compiler = _compiler()
    command = [*compiler, *FLAGS, *TUNING.get(platform.machine(), ())]
    said = _said_by([*compiler, "--version"])
    digest = hashlib.sha256("\n".join([*command, said, _processor()]).encode())
    for name in (*SOURCES, *HEADERS):
        digest.update((NATIVE / name).read_bytes())
    built = _private_folder() / f"fused_ops_{digest.hexdigest()[:32]}.so"
    if not built.is_file():
        with locked(built.parent, wait=True):  # of several processes one compiles
            if not built.is_file():
                log.warning("compiling fused operators, once, into %s", built)
                with atomic_file(built) as unfinished:
                    _said_by([*command, *(str(NATIVE / name) for name in SOURCES), "-o", str(unfinished)])
    if built.stat().st_uid != os.getuid():
        raise OSError(f"{built} is another user's; remove it, or set XDG_CACHE_HOME")
    return built


def _compiler() -> list[str]:
    named = shlex.split(os.environ.get("CXX", ""))
    for command in (named,) if named else (["g++"], ["clang++"], ["c++"]):
        found = shutil.which(command[0])
        if found:
            return [found, *command[1:]]
    raise RuntimeError(f"no C++ compiler ({named[0] if named else 'g++, clang++, c++'}) was found")


def _said_by(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_BUILD_S, check=False)  # noqa: S603 - the user's own compiler
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise RuntimeError(f"{command[0]} failed: {last[0][:300]}")
    return done.stdout


def _private_folder() -> Path:
    """A folder of the cache that nobody else may write to: what lies in it is run."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lehrnet" / "fused_ops"
    if platform.system() == "Windows":
        raise RuntimeError("they are not built on Windows")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise OSError(f"{folder} can be written by others; make it yours alone (chmod 700)")
    return folder


def _processor() -> str:
    """What -march=native depends on: the first processor's model and flags."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", 1)[0].splitlines()
    except OSError:
        return platform.processor()
    wanted = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU")
    return "\n".join(line for line in lines if line.startswith(wanted))

"""Where the C++ library of `runtime/embed` is, which holds our CPU engine."""

import os
from collections.abc import Collection
from pathlib import Path

ENVIRONMENT = "LEHRNET_LIBRARY"
NAME = "liblehrnet.so"
BESIDE = Path(__file__).parents[1] / NAME
SYSTEM = tuple(
    Path(root) / folder / NAME
    for root in ("/usr/local", "/usr")
    for folder in ("lib", "lib64", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu")
)
MISSING = (
    "it needs lehrnet's C++ library: reinstall lehrnet where CMake and a C++ compiler are, or set "
    f"{ENVIRONMENT} to the absolute path of a {NAME}; the fp32 graph runs without it"
)


def find_library() -> str | None:
    """Path of the library: $LEHRNET_LIBRARY, else beside this file, else in the system's folders; None if not found.

    A library is code, so it is never searched for in the current folder or in a bundle: ValueError if the variable is
    not an absolute path, FileNotFoundError if there is no such file.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        if not Path(named).is_absolute():
            raise ValueError(f"{ENVIRONMENT} is {named!r}, expected an absolute path: a library is code")
        if not Path(named).is_file():
            raise FileNotFoundError(f"{ENVIRONMENT} is {named}, where no file is")
        return named
    return next((str(path) for path in (BESIDE, *SYSTEM) if path.is_file()), None)


def library_fault(requires: Collection[str]) -> str:
    """What an artefact of these requirements lacks here, and what to do; empty if nothing."""
    return MISSING if "lehrnet_library" in requires and find_library() is None else ""

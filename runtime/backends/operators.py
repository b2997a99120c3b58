"""Our own operators for ONNX Runtime, in the library of `runtime/embed`: graphs called `*_cpu` of FP32 take them."""

import os
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
    f"it takes our operators: `make operators` builds them into the checkout, {ENVIRONMENT} names by its absolute path "
    f"a {NAME} that is elsewhere; the fp32 graph runs without"
)


def operators_library() -> str | None:
    """The library, by $LEHRNET_LIBRARY, beside this file, or in the system's own folders; None if it is nowhere.

    A library is code, so that it is never looked for in the current folder or in a bundle: ValueError where the
    environment's path is not absolute, FileNotFoundError where nothing is there.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        if not Path(named).is_absolute():
            raise ValueError(f"{ENVIRONMENT} is {named!r}, expected an absolute path: a library is code")
        if not Path(named).is_file():
            raise FileNotFoundError(f"{ENVIRONMENT} is {named}, where no file is")
        return named
    return next((str(path) for path in (BESIDE, *SYSTEM) if path.is_file()), None)

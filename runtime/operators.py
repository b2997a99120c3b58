"""Our own operators for ONNX Runtime, in the library of `runtime/embed`: graphs called `*_cpu` of FP32 take them."""

import ctypes.util
import os
from pathlib import Path

ENVIRONMENT = "LEHRNET_LIBRARY"
BESIDE = Path(__file__).with_name("liblehrnet.so")
MISSING = (
    f"it takes our operators: `make operators` builds them into the checkout, {ENVIRONMENT} names a liblehrnet that is "
    "elsewhere; the fp32 graph runs without"
)


def operators_library() -> str | None:
    """The library, by $LEHRNET_LIBRARY, beside this file, or where the system looks; None if it is nowhere.

    FileNotFoundError where the environment names what is not there.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        if not Path(named).is_file():
            raise FileNotFoundError(f"{ENVIRONMENT} is {named}, where no file is")
        return named
    return str(BESIDE) if BESIDE.is_file() else ctypes.util.find_library("lehrnet")

"""Process-wide settings of glibc and OpenMP that speed up training."""

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc


def keep_pages() -> bool:
    """Make glibc keep freed memory, so that steps do not fault in new pages; False without glibc.

    The same as `MALLOC_MMAP_THRESHOLD_` and `MALLOC_TRIM_THRESHOLD_` in the environment, for a running process.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    kept = libc.mallopt(M_TRIM_THRESHOLD, -1)  # -1: never give back
    return bool(libc.mallopt(M_MMAP_MAX, 0) and kept)


def wait_without_spinning() -> None:
    """Make waiting OpenMP threads sleep instead of spin, which would take cores from other work.

    OpenMP reads the setting when it is loaded: call this before importing torch. The user's own setting is kept.
    """
    for name, value in (("OMP_WAIT_POLICY", "PASSIVE"), ("KMP_BLOCKTIME", "0")):
        os.environ.setdefault(name, value)

"""Settings of the host's C and OpenMP libraries that suit a training: they concern this process alone."""

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc


def keep_pages() -> bool:
    """Let glibc keep freed memory, so that a step's maps do not take fresh pages each time; False elsewhere.

    Like `MALLOC_MMAP_THRESHOLD_` and `MALLOC_TRIM_THRESHOLD_` in the environment, but for a process that runs.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    kept = libc.mallopt(M_TRIM_THRESHOLD, -1)  # -1: never give back
    return bool(libc.mallopt(M_MMAP_MAX, 0) and kept)


def wait_without_spinning() -> None:
    """Threads that wait for others sleep: on a machine with other work, spinning takes a core from it.

    OpenMP's libraries read this when they are loaded, so it comes before torch. What the user has set stays.
    """
    for name, value in (("OMP_WAIT_POLICY", "PASSIVE"), ("KMP_BLOCKTIME", "0")):
        os.environ.setdefault(name, value)

"""Process-wide settings of glibc and OpenMP that speed up training."""

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc
MADV_HUGEPAGE = 14  # mman.h of Linux
HUGE_PAGE = 2 << 20  # bytes, on x86-64 and where pages are of 4 KB on ARM


def keep_pages() -> bool:
    """Make glibc keep freed memory, so that steps do not fault in new pages; False without glibc.

    The same as `MALLOC_MMAP_THRESHOLD_` and `MALLOC_TRIM_THRESHOLD_` in the environment, for a running process. Memory
    that is taken from now on lies in huge pages where the system gives them on request.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    kept = bool(libc.mallopt(M_TRIM_THRESHOLD, -1))  # -1: never give back
    kept = bool(libc.mallopt(M_MMAP_MAX, 0)) and kept
    if kept:
        _ask_for_huge_pages(libc, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    return kept


def _ask_for_huge_pages(libc: ctypes.CDLL, size: int) -> bool:
    """Grow the heap by `size` bytes of addresses, which take no memory yet, and ask for huge pages there.

    A step reads and writes gigabytes, and each page of 4 KB must be looked up. False where it cannot be had.
    """
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    libc.free.restype, libc.free.argtypes = None, (ctypes.c_void_p,)
    grown = libc.malloc(size)
    if not grown:
        return False
    begin = -(-grown // HUGE_PAGE) * HUGE_PAGE
    asked = libc.madvise(begin, (grown + size - begin) // HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE)
    libc.free(grown)  # it stays the heap's free end, since nothing is given back
    return asked == 0


def wait_without_spinning() -> None:
    """Make waiting OpenMP threads sleep instead of spin, which would take cores from other work.

    OpenMP reads the setting when it is loaded: call this before importing torch. The user's own setting is kept.
    """
    for name, value in (("OMP_WAIT_POLICY", "PASSIVE"), ("KMP_BLOCKTIME", "0")):
        os.environ.setdefault(name, value)

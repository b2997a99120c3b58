"""Settings of the C library that a training asks for."""

import platform
import subprocess
import sys

import pytest

MEASURED = """
import os
from pathlib import Path
from lehrnet.training.host import keep_pages

def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

assert keep_pages() and keep_pages()
before = resident()
assert before < 200e6, "addresses alone take no memory"
maps = [bytes(1 << 26) for _ in range(4)]  # 256 MB of zeros, written
assert resident() - before > 200e6, "memory is taken where it is used"
del maps
assert resident() - before > 200e6, "and kept"
again = [bytes(1 << 26) for _ in range(4)]
assert resident() - before < 400e6, "and used again"
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="these are glibc's settings")
def test_freed_pages_stay_and_addresses_alone_take_no_memory() -> None:
    subprocess.run([sys.executable, "-c", MEASURED], check=True)

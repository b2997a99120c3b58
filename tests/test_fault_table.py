"""The table of attacks, row by row."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_no_row_of_the_table_of_attacks_falls_short() -> None:
    pytest.importorskip("onnxsim")
    script = Path(__file__).with_name("fault_table.py")
    found = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=300)
    assert found.returncode == 0, "\n".join(line for line in found.stdout.splitlines() if line.startswith("SHORT"))

"""The real Triton server, or the reason why a test is skipped."""

from pathlib import Path

import pytest

from lehrnet.benchmarks import triton_server


def environment_of_triton() -> Path:
    """The folder of the environment that `make triton` makes; the test is skipped where there is none."""
    try:
        return triton_server.environment_of_triton()
    except FileNotFoundError as error:
        pytest.skip(str(error))

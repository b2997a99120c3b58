"""What the tests of the C and C++ library share: its tools, its builds, and a command that must succeed."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from lehrnet.files import locked

ROOT = Path(__file__).parents[2]
EMBED = ROOT / "runtime" / "embed"
TOOLS = ("cmake", "ninja", "g++", "gcc")
MARKS = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),  # the first to come builds the library, and the others wait for it
    pytest.mark.skipif(any(shutil.which(tool) is None for tool in TOOLS), reason=f"building takes {', '.join(TOOLS)}"),
]


def run(*command: object, **environment: str) -> str:
    """What a command prints; the test fails with its words where it fails."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def fetch_headers() -> Path:
    """ONNX Runtime's headers; the test is skipped where they cannot be fetched."""
    folder = ROOT / "build" / "onnxruntime"
    done = subprocess.run([EMBED / "fetch_onnxruntime.sh", folder], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no ONNX Runtime headers: {done.stderr.strip()[-200:]}")
    return folder / "include"


def dev_library() -> Path:
    """The C++ library with ONNX graphs, warnings being errors."""
    return build("dev", fetch_headers(), ["lehrnet"]) / "liblehrnet.so"


def build(preset: str, headers: Path | None = None, targets: Sequence[str] = ()) -> Path:
    """Build a preset in its folder of `build/embed`, one process of a test run at a time; the folder.

    Without targets all are built; a preset with ONNX Runtime takes its headers.
    """
    folder = ROOT / "build" / "embed" / preset
    more = [] if headers is None else [f"-DONNXRUNTIME_INCLUDE_DIR={headers}"]
    with locked(folder, wait=True):
        run("cmake", "-S", EMBED, "--preset", preset, "-G", "Ninja", *more, "-DLEHRNET_WERROR=ON", "-B", folder)
        run("cmake", "--build", folder, *(["--target", *targets] if targets else []))
    return folder

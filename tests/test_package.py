"""The package as a whole: what importing it loads, which floor knows which, and that its wheel works."""

import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def loaded_by(statement: str) -> set[str]:
    """Top-level packages in a fresh interpreter after one import."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    return set(result.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_by("import lehrnet") & {"numpy", "cv2", "torch", "onnxruntime"}


@pytest.mark.parametrize(
    "module",
    [
        *("lehrnet.runtime", "lehrnet.runtime.predict", "lehrnet.cli", "lehrnet.pose.coco"),
        *("lehrnet.export.engine", "lehrnet.benchmarks.tune", "lehrnet.benchmarks.latency"),
    ],
)
def test_what_a_device_does_loads_no_torch(module: str) -> None:
    assert not loaded_by(f"import {module}") & {"torch", "onnx", "onnxruntime"}


def test_predicting_loads_no_torch(tiny_bundle: Path) -> None:
    statement = f"from lehrnet.runtime import PoseEstimator; PoseEstimator.open({str(tiny_bundle)!r}, device='cpu')"
    loaded = loaded_by(statement)
    assert "onnxruntime" in loaded
    assert "torch" not in loaded


def test_the_floors_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports"))]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stdout


def test_every_package_that_the_checkout_installs_is_pinned() -> None:
    def plain(name: str) -> str:
        return name.lower().replace("_", "-").replace(".", "-")

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {plain(line.partition("==")[0]) for line in lines if "==" in line}
    installed = {plain(found.metadata["Name"]) for found in distributions()}
    assert installed - pinned <= {"lehrnet", "pip", "wheel"}


def test_the_module_runs_as_the_command() -> None:
    command = [sys.executable, "-m", "lehrnet", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout.startswith("lehrnet 0.")


@pytest.mark.slow
def test_the_wheel_works_in_an_empty_environment(tiny_bundle: Path, data_folder: Path, tmp_path: Path) -> None:
    """Only the core and one backend: no torch, as on a Jetson."""

    def run(*command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout

    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    source = working_tree(ROOT, tmp_path / "source")
    run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source))
    (wheel,) = tmp_path.glob("lehrnet-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {
        "lehrnet/cli/__init__.py",
        "lehrnet/model/forms/deploy.py",
        "lehrnet/benchmarks/paper/table4_ablation.csv",
    } <= {*names}
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"lehrnet"}
    assert not [name for name in names if name.startswith("lehrnet/tests/")]

    venv.create(tmp_path / "empty", with_pip=True)
    python = str(tmp_path / "empty" / "bin" / "python")
    run(python, "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt"), f"{wheel}[cpu]")
    command = str(tmp_path / "empty" / "bin" / "lehrnet")
    image = str(data_folder / "images" / "000000000001.jpg")
    assert "1 people in 1 images" in run(command, "predict", str(tiny_bundle), image, "--out", str(tmp_path / "out"))
    refused = subprocess.run([command, "info"], capture_output=True, text=True, check=False)
    assert (refused.returncode, "needs PyTorch" in refused.stderr) == (2, True)


def working_tree(checkout: Path, copy: Path) -> Path:
    """A copy of a checkout as it stands: what is not committed is in, what git ignores is out, and so is what is gone.

    A copy, because building a wheel writes beside its sources.
    """
    command = ["git", "-C", str(checkout), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, listed):
        if (checkout / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(checkout / name, copy / name)
    return copy


def test_the_wheel_s_source_is_the_working_tree(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "build").mkdir(parents=True)
    git = ("git", "-C", str(checkout), "-c", "user.name=us", "-c", "user.email=us@example.org")
    for name in ("kept.py", "changed.py", "gone.py"):
        (checkout / name).write_text("committed")
    (checkout / ".gitignore").write_text("build/\n*.tmp\n")
    for command in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", "all")):
        subprocess.run([*git, *command], check=True)
    (checkout / "changed.py").write_text("not committed")
    (checkout / "gone.py").unlink()
    for name in ("new.py", "build/made.py", "left.tmp"):
        (checkout / name).write_text("new")
    copy = working_tree(checkout, tmp_path / "copy")
    found = {path.relative_to(copy).as_posix(): path.read_text() for path in copy.rglob("*") if path.is_file()}
    assert found.pop(".gitignore")
    assert found == {"kept.py": "committed", "changed.py": "not committed", "new.py": "new"}

"""The package as a whole: what importing it loads, which floor knows which, and that its wheel works."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path

import pytest

from lehrnet.runtime.bundle import Artefact, read_bundle, write_manifest

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


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return working_tree(ROOT, tmp_path_factory.mktemp("wheel") / "source")


def run(*command: str, cwd: Path, **environment: str) -> str:
    environment = {**os.environ, **environment}
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd, env=environment).stdout


def wheel_of(source: Path, folder: Path, **environment: str) -> Path:
    """A wheel, built as pip builds it."""
    options = ("--disable-pip-version-check", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder))
    run(sys.executable, "-m", "pip", *options, str(source), cwd=folder, **environment)
    (wheel,) = folder.glob("lehrnet-*.whl")
    return wheel


@pytest.mark.slow
def test_the_wheel_needs_only_numpy_and_opencv(
    source: Path, tiny_checkpoint, tiny_bundle: Path, data_folder: Path, tmp_path: Path
) -> None:
    """No ONNX Runtime, no torch and no compiler: the compiled engine and the shipped network are inside."""
    if shutil.which("c++") is None:
        pytest.skip("the compiled part takes a C++ compiler")
    from lehrnet.export.native import NATIVE, write_native

    shipped = tmp_path / "shipped"
    shipped.mkdir()
    write_native(tiny_checkpoint.network, shipped / f"{NATIVE}.lehrnet")
    artefact = Artefact.of(shipped / f"{NATIVE}.lehrnet", requires=("lehrnet_library",))
    write_manifest(replace(read_bundle(tiny_bundle), root=shipped, artefacts={NATIVE: artefact}))
    wheel = wheel_of(source, tmp_path, LEHRNET_COMPILE="require", LEHRNET_SHIPPED_BUNDLE=str(shipped))
    assert "-py3-none-linux_" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert {
        *("lehrnet/cli/__init__.py", "lehrnet/model/forms/deploy.py", "lehrnet/runtime/liblehrnet.so"),
        *("lehrnet/benchmarks/paper/table4_ablation.csv", "lehrnet/runtime/shipped/bundle.json"),
    } <= {*names}
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"lehrnet"}
    assert not [name for name in names if name.startswith(("lehrnet/tests/", "lehrnet/setup.py"))]

    venv.create(tmp_path / "empty", with_pip=True)
    pip = (str(tmp_path / "empty/bin/python"), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"))
    run(*pip, str(wheel), cwd=tmp_path)
    command = str(tmp_path / "empty/bin/lehrnet")
    image = str(data_folder / "images" / "000000000001.jpg")
    bare = {"PATH": "", "HOME": str(tmp_path)}
    found = run(command, "predict", image, "--out", str(tmp_path / "out"), cwd=tmp_path, **bare)
    assert "1 people in 1 images on cpu by native" in found
    for arguments, words in ((("predict", str(tiny_bundle), image), "lehrnet[cpu]"), (("info",), "needs PyTorch")):
        refused = subprocess.run([command, *arguments], capture_output=True, text=True, check=False, cwd=tmp_path)
        assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr
    run(*pip, f"{wheel}[cpu]", cwd=tmp_path)
    assert "by onnxruntime" in run(command, "predict", str(tiny_bundle), image, cwd=tmp_path)


@pytest.mark.slow
def test_without_a_compiler_the_wheel_is_pure_and_where_one_is_required_the_build_says_so(
    source: Path, tmp_path: Path
) -> None:
    wheel = wheel_of(source, tmp_path, LEHRNET_COMPILE="off")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".so") or "shipped" in name]
    with pytest.raises(subprocess.CalledProcessError) as failed:
        wheel_of(source, tmp_path, LEHRNET_COMPILE="require", CXX="/nowhere/c++")
    assert "LEHRNET_COMPILE=require, but building liblehrnet.so takes a C++ compiler" in failed.value.stderr


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

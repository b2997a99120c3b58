"""The compiled part of the package: liblehrnet with our CPU engine, built by CMake into `lehrnet/runtime`.

LEHRNET_COMPILE says what is wanted: `auto` (default) builds the library where CMake and a C++ compiler are and makes a
pure package elsewhere, `require` fails there, `off` never builds it. `make wheel` also puts in a bundle of the shipped
weights. Everything else is in pyproject.toml.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SOURCE = ROOT / "runtime" / "embed"
NAME = "liblehrnet.so"
CHOICES = ("auto", "require", "off")
COMPILERS = ("c++", "g++", "clang++")


def wanted() -> bool:
    """Whether to build the library; SystemExit where it is required and cannot be built."""
    choice = os.environ.get("LEHRNET_COMPILE", "auto")
    if choice not in CHOICES:
        raise SystemExit(f"LEHRNET_COMPILE is {choice!r}, expected one of {', '.join(CHOICES)}")
    named = os.environ.get("CXX", "").split()
    missing = [
        what
        for what, found in (
            ("Linux", sys.platform == "linux"),
            ("CMake", shutil.which("cmake")),
            ("a C++ compiler", any(map(shutil.which, named[:1] or COMPILERS))),
        )
        if not found
    ]
    if missing and choice == "require":
        raise SystemExit(f"LEHRNET_COMPILE=require, but building {NAME} takes {' and '.join(missing)}")
    if missing and choice == "auto":
        print(f"lehrnet is installed without its CPU engine, which takes {' and '.join(missing)}", file=sys.stderr)
    return choice != "off" and not missing


class Modules(build_py):
    """Python's part, and the bundle of the shipped weights from the folder that LEHRNET_SHIPPED_BUNDLE names."""

    def run(self) -> None:
        """Copy modules and data; in a checkout's editable install there is no bundle."""
        super().run()
        bundle = os.environ.get("LEHRNET_SHIPPED_BUNDLE")
        if bundle and not self.editable_mode:
            shutil.copytree(bundle, Path(self.build_lib) / "lehrnet" / "runtime" / "shipped", dirs_exist_ok=True)

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """All but this file, which is no module of the package, though the package's root is its folder."""
        return [found for found in super().find_package_modules(package, package_dir) if found[1] != "setup"]


class BuildLibrary(build_ext):
    """Runs CMake in place of a compiler."""

    def get_ext_filename(self, fullname: str) -> str:
        """The library's own file name: it is opened by ctypes, by every version of Python."""
        return str(Path(*fullname.split(".")[:-1]) / NAME)

    def build_extension(self, ext: Extension) -> None:
        """Build the library; with ONNX graphs where ONNX Runtime's headers are at hand."""
        build, target = Path(self.build_temp).resolve() / "embed", Path(self.get_ext_fullpath(ext.name)).resolve()
        headers = os.environ.get("ONNXRUNTIME_INCLUDE_DIR") or ROOT / "build" / "onnxruntime" / "include"
        graphs = Path(headers).is_dir()
        generator = ("-G", "Ninja") if shutil.which("ninja") else ()
        options = {
            "CMAKE_BUILD_TYPE": "Release",
            "BUILD_TESTING": "OFF",
            "LEHRNET_ONNXRUNTIME": "ON" if graphs else "OFF",
            "LEHRNET_STATIC_RUNTIME": "ON",
            **({"ONNXRUNTIME_INCLUDE_DIR": str(headers)} if graphs else {}),
        }
        flags = [f"-D{name}={value}" for name, value in options.items()]
        subprocess.run(["cmake", "-S", str(SOURCE), "-B", str(build), *generator, *flags], check=True)
        subprocess.run(["cmake", "--build", str(build), "--target", "lehrnet", "--parallel"], check=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(build / NAME, target.with_suffix(".new"))
        target.with_suffix(".new").replace(target)  # a process may be running the old one


class PlatformWheel(bdist_wheel):
    """The library has no part of Python's interface: one wheel a platform serves every Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """Of any Python 3; of this platform where the library is inside."""
        python, abi, platform = super().get_tag()
        return ("py3", "none", platform) if self.distribution.ext_modules else (python, abi, platform)


setup(
    ext_modules=[Extension("lehrnet.runtime.liblehrnet", sources=[])] if wanted() else [],
    cmdclass={"build_py": Modules, "build_ext": BuildLibrary, "bdist_wheel": PlatformWheel},
)

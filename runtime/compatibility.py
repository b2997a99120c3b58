"""Compatibility of an engine with a machine: an engine, unlike an ONNX file, runs only where it was built for."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Library = Literal["tensorrt", "tensorrt_rtx"]
Compatibility = Literal["none", "ampere_plus", "same_compute_capability"]


@dataclass(frozen=True)
class EngineLibrary:
    """A library of NVIDIA's that builds and runs engines: its name for users, its Python modules, how to install it."""

    title: str
    module: str
    """Runs and builds engines."""
    builder: str
    """Only builds them: it is there on machines without a GPU."""
    install: str
    install_builder: str


ENGINE_LIBRARIES: Mapping[Library, EngineLibrary] = {
    "tensorrt": EngineLibrary(
        "TensorRT",
        "tensorrt",
        "tensorrt_bindings",
        "pip install 'lehrnet[tensorrt]', or JetPack's own",
        "pip install 'lehrnet[tensorrt]'",
    ),
    "tensorrt_rtx": EngineLibrary(
        "TensorRT-RTX",
        "tensorrt_rtx",
        "tensorrt_rtx_bindings",
        "pip install 'lehrnet[rtx]'",
        "pip install 'lehrnet[rtx-build]'",
    ),
}


@dataclass(frozen=True)
class BuiltFor:
    """The target of an engine, as stored in the bundle's manifest."""

    library: Library
    """A manifest that names another library is refused before anything is imported."""
    version: str
    """Version of the library."""
    compute_capabilities: tuple[str, ...]
    """Compute capabilities that it was built for: "8.7", ..."""
    system: str
    """ "Linux", "Windows"."""
    machine: str
    """ "x86_64", "aarch64"."""
    gpu: str | None = None
    """Name of the GPU that it was built and tuned on; None if it was built without one."""
    driver: str | None = None
    hardware: Compatibility = "none"
    """Which other GPUs it may run on (TensorRT's hardware_compatibility_level)."""
    version_compatible: bool = False
    """Whether later libraries of the same major version may run it."""
    dla_core: int | None = None


@dataclass(frozen=True)
class Machine:
    """The machine on which an engine is to run."""

    library: str
    version: str
    compute_capability: str
    gpu: str = ""
    system: str = platform.system()
    machine: str = platform.machine()


def differences(built: BuiltFor, here: Machine) -> list[str]:
    """Reasons why an engine cannot run on this machine, one sentence each; empty if it can."""
    found = []
    if built.library != here.library:
        found.append(f"it is for {built.library}, here is {here.library}")
    elif built.version != here.version and not _version_fits(built, here):
        compatible = ", and it was not built version-compatible" if not built.version_compatible else ""
        found.append(f"it was built by {built.library} {built.version}, here is {here.version}{compatible}")
    if not _runs_on(built, here.compute_capability):
        gpu = f" ({built.gpu})" if built.gpu else ""
        capabilities = ", ".join(built.compute_capabilities)
        found.append(
            f"it is for GPUs of compute capability {capabilities}{gpu}, "
            f"here is {here.compute_capability}{f' ({here.gpu})' if here.gpu else ''}"
        )
    if (built.system, built.machine) != (here.system, here.machine):
        found.append(f"it is for {built.system} on {built.machine}, here is {here.system} on {here.machine}")
    return found


def _version_fits(built: BuiltFor, here: Machine) -> bool:
    if not built.version_compatible:
        return False
    then, now = _numbers(built.version), _numbers(here.version)
    return then[:1] == now[:1] and now >= then


def _runs_on(built: BuiltFor, capability: str) -> bool:
    match built.hardware:
        case "ampere_plus":
            return _numbers(capability) >= (8, 0)
        case _:
            return capability in built.compute_capabilities


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())

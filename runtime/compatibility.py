"""Whether an engine was built for the machine that it is on: an engine, unlike an ONNX file, is bound to one."""

import platform
from dataclasses import dataclass
from typing import Literal

Library = Literal["tensorrt", "tensorrt_rtx"]
Compatibility = Literal["none", "ampere_plus", "same_compute_capability"]


@dataclass(frozen=True)
class BuiltFor:
    """What stands with an engine in the bundle."""

    library: Library
    """Of the two that there are; a manifest that names another is refused before anything is imported."""
    version: str
    """The library's."""
    compute_capabilities: tuple[str, ...]
    """Of the GPUs that it was built for: "8.7", ..."""
    system: str
    """ "Linux", "Windows"."""
    machine: str
    """ "x86_64", "aarch64"."""
    gpu: str | None = None
    """The one that it was built and tuned on; None when it was built without."""
    driver: str | None = None
    hardware: Compatibility = "none"
    """Which other GPUs it may run on (TensorRT's hardware_compatibility_level)."""
    version_compatible: bool = False
    """Whether later libraries of the same major version may run it."""
    dla_core: int | None = None


@dataclass(frozen=True)
class Machine:
    """The machine that is asked to run it."""

    library: str
    version: str
    compute_capability: str
    gpu: str = ""
    system: str = platform.system()
    machine: str = platform.machine()


def differences(built: BuiltFor, here: Machine) -> list[str]:
    """Why the engine does not fit, one line a reason; empty if nothing speaks against it."""
    found = []
    if built.library != here.library:
        found.append(f"it is for {built.library}, here is {here.library}")
    elif built.version != here.version and not _serves(built, here):
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


def _serves(built: BuiltFor, here: Machine) -> bool:
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

"""Devices by the names that people know them by, and a bundle's fastest artefact on one."""

import platform
from pathlib import Path

from ..parsing import device_index
from .bundle import Bundle

FASTEST = "fastest"
"""Where an artefact is asked for: what `lehrnet tune` found."""
TORCH = "torch"
"""What the name of a form of PyTorch's begins with, such as "torch_fp16": `pytorch.forms.TorchForm`."""


def processor_name() -> str:
    """The CPU's, as its maker calls it."""
    return cpu_fact("model name") or platform.processor() or platform.machine()


def cpu_fact(key: str) -> str:
    """A line of Linux's /proc/cpuinfo, of the first core that has it; empty where there is none."""
    facts = Path("/proc/cpuinfo")
    if not facts.exists():
        return ""
    lines = (line.partition(":") for line in facts.read_text(encoding="utf-8").splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == key), "")


def device_name(device: str) -> str:
    """What "cpu" or "cuda:1" is on this machine."""
    gpu = device_index(device)
    if gpu is None:
        return processor_name()
    from .cuda.driver import describe_gpu  # noqa: PLC0415 - a CPU needs none

    return describe_gpu(gpu).name


def chosen(bundle: Bundle, artefact: str, device: str) -> str:
    """The artefact that is meant: "fastest" is the one that `lehrnet tune` found here, on the GPU first for "auto"."""
    if artefact != FASTEST:
        return artefact
    names = [name for each in (("cuda:0", "cpu") if device == "auto" else (device,)) if (name := _name_if_there(each))]
    found = next((bundle.fastest[name] for name in names if name in bundle.fastest), None)
    if found is None:
        here, tuned = " or ".join(names) or device, ", ".join(bundle.fastest) or "no device"
        raise ValueError(
            f"{bundle.root} was not tuned for {here}, but for {tuned}: lehrnet tune {bundle.root} --device {device}"
        )
    return found


def _name_if_there(device: str) -> str | None:
    try:
        return device_name(device)
    except (ImportError, RuntimeError):
        return None

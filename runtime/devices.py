"""Names of devices, and a bundle's fastest artefact on a device."""

import platform
from pathlib import Path

from ..parsing import device_index
from .bundle import Bundle

FASTEST = "fastest"
"""Artefact name that stands for the fastest one found by `lehrnet tune`."""
TORCH = "torch"
"""Prefix of the names of PyTorch forms, such as "torch_fp16": `pytorch.forms.TorchForm`."""


def processor_name() -> str:
    """Model name of the CPU."""
    return cpu_fact("model name") or platform.processor() or platform.machine()


def cpu_fact(key: str) -> str:
    """Value of a key in Linux's /proc/cpuinfo, from the first core that has it; empty if there is none."""
    facts = Path("/proc/cpuinfo")
    if not facts.exists():
        return ""
    lines = (line.partition(":") for line in facts.read_text(encoding="utf-8").splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() == key), "")


def device_name(device: str) -> str:
    """Model name of the device "cpu" or "cuda:N" on this machine."""
    gpu = device_index(device)
    if gpu is None:
        return processor_name()
    from .cuda.driver import describe_gpu  # noqa: PLC0415 - a CPU needs none

    return describe_gpu(gpu).name


def chosen(bundle: Bundle, artefact: str, device: str) -> str:
    """Resolve "fastest" to the artefact that `lehrnet tune` found on this device; other names are returned unchanged.

    "auto" looks for the GPU's first, then for the CPU's. ValueError if the bundle was not tuned for the device.
    """
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

"""Names of devices, and which of a bundle's artefacts runs on a device: its default, or the fastest."""

import logging
import platform
from pathlib import Path

from ..parsing import device_index
from .backends.library_path import library_fault
from .bundle import Bundle

log = logging.getLogger(__name__)

AUTO = "auto"
"""Artefact name that stands for the default one: FP32 by our own CPU engine where it can run, else the FP32 graph."""
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
    """Resolve "auto" and "fastest" to an artefact of the bundle; other names are returned unchanged.

    "auto" is FP32: on a CPU by our own engine if the bundle has a packed network and the library is here, else the
    graph. "fastest" is what `lehrnet tune` found on this device; for the device "auto", first the GPU's. ValueError if
    the bundle was not tuned for the device.
    """
    if artefact == AUTO:
        return _default(bundle, device)
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


def _default(bundle: Bundle, device: str) -> str:
    """The artefact that runs by default on a device, which the log says where it is not the graph's only choice."""
    packed = [name for name, each in bundle.artefacts.items() if each.form == "native" and each.precision == "fp32"]
    on_gpu = _name_if_there("cuda:0") is not None if device == "auto" else device_index(device) is not None
    if not packed or (on_gpu and "fp32" in bundle.artefacts):
        return "fp32"
    fault = library_fault(bundle.artefacts[packed[0]].requires)
    if fault and "fp32" in bundle.artefacts:
        log.info("fp32 runs; %s would be faster, but %s", packed[0], fault)
        return "fp32"
    return packed[0]


def _name_if_there(device: str) -> str | None:
    try:
        return device_name(device)
    except (ImportError, RuntimeError):
        return None

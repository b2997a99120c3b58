"""Tuning: times a bundle's equal graphs on this device, interleaved, and stores the fastest in the manifest."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..runtime.bundle import WEIGHTS, Bundle, open_bundle, write_manifest
from ..runtime.devices import device_name
from ..runtime.session import Session, Trust, open_artefact
from .interleave import race

INT8_CPU = "int8_cpu"


def tune(
    root: Path,
    *,
    precision: str = "fp32",
    device: str = "auto",
    batch: int = 8,
    rounds: int = 20,
    threads: int | None = None,
    trust_engine: Trust = False,
) -> dict[str, Any]:
    """Time every graph and engine of a precision, and store the fastest in the bundle under this device's name.

    INT8 for CPUs (`int8_cpu`) races with what is exact: where it is not faster, it is not the fastest.
    Artefacts that cannot be opened here are reported with the reason. ValueError if none has that precision.
    """
    if batch < 1:
        raise ValueError(f"batch is {batch}, expected at least 1")
    bundle = open_bundle(root)
    names = [*_candidates(bundle, precision), *_torch_forms(precision, device)]
    sessions, left_out = _opened(bundle, names, device, threads, trust_engine)
    crops = np.random.default_rng(0).standard_normal((batch, 3, *bundle.spec.input_size), dtype=np.float32)
    subjects = {name: partial(session.run, crops) for name, session in sessions.items()}
    result = race(subjects, next(iter(subjects)), rounds)
    fastest = max(subjects, key=lambda name: result.speed_up[name]["p50"])  # ratios per round cancel drift
    name = device_name(sessions[fastest].device)
    write_manifest(replace(bundle, fastest={**bundle.fastest, name: fastest}))
    return {
        "device": name,
        "batch": batch,
        "rounds": rounds,
        "fastest": fastest,
        "milliseconds": result.milliseconds,
        "speed_up": result.speed_up,
        "left_out": left_out,
    }


def describe(facts: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [f"{facts['device']}, batch {facts['batch']}"]
    for name, times in facts["milliseconds"].items():
        mark = "  <- fastest" if name == facts["fastest"] else ""
        lines.append(f"  {name:24} {times['p50']:9.2f} ms  {facts['speed_up'][name]['p50']:5.2f} times{mark}")
    lines += [f"  {name:24} left out: {reason}" for name, reason in facts["left_out"].items()]
    return "\n".join(lines)


def _candidates(bundle: Bundle, precision: str) -> list[str]:
    found = _of_precision(bundle, precision)
    if precision == INT8_CPU and found:
        return found + [name for name in _of_precision(bundle, "fp32") if bundle.artefacts[name].form != "engine"]
    if not found:
        there = sorted({artefact.precision for artefact in bundle.artefacts.values()})
        raise ValueError(f"{bundle.root} has nothing of precision {precision!r}; it has {', '.join(there)}")
    return found


def _of_precision(bundle: Bundle, precision: str) -> list[str]:
    return [
        name
        for name, artefact in bundle.artefacts.items()
        if name != WEIGHTS and artefact.precision == precision and artefact.output == "heatmaps"
    ]


def _torch_forms(precision: str, device: str) -> list[str]:
    """Names of the PyTorch forms to time, if there is a GPU: the default and those that differ in one choice."""
    if precision not in ("fp32", "fp16"):
        return []
    try:
        from ..model.device import choose_device  # noqa: PLC0415 - a device may be without PyTorch
        from ..runtime.pytorch.forms import neighbours  # noqa: PLC0415

        on_gpu = choose_device(device).type == "cuda"
    except (ImportError, RuntimeError):
        return []
    return [form.name for form in neighbours(half=precision == "fp16")] if on_gpu else []


def _opened(
    bundle: Bundle, names: Sequence[str], device: str, threads: int | None, trust_engine: Trust
) -> tuple[dict[str, Session], dict[str, str]]:
    """Open sessions by name, and reasons for those that failed; the first reason is raised if all failed."""
    sessions: dict[str, Session] = {}
    left_out: dict[str, str] = {}
    for name in names:
        try:
            sessions[name] = open_artefact(bundle, name, device, threads, trust_engine=trust_engine)
        except (ImportError, RuntimeError, ValueError) as error:
            left_out[name] = str(error)
    if not sessions:
        raise RuntimeError(f"nothing of {bundle.root} runs on {device}: {next(iter(left_out.values()))}")
    return sessions, left_out

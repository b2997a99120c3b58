"""Jetson telemetry: power mode, clocks, temperatures and power rails; energy per person and throttling.

Read from `nvpmodel -q` and `tegrastats`, which come with JetPack. Written from their documented formats and tested on
samples of those; it has not yet run on a Jetson.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import numpy as np

MODEL = Path("/proc/device-tree/model")
RAIL = re.compile(r"\b([A-Z][A-Z0-9_]*) (\d+)mW/(\d+)mW")
TEMPERATURE = re.compile(r"\b([A-Za-z][\w-]*)@(-?[\d.]+)C")
GPU = re.compile(r"GR3D_FREQ (\d+)%(?:@\[?(\d+)[\],\d]*)?")
MEMORY = re.compile(r"RAM (\d+)/(\d+)MB")
CPU = re.compile(r"CPU \[([^\]]*)\]")
MODE = re.compile(r"NV Power Mode: *(\S+)\s+(\d+)")
TOTAL_RAILS = ("VDD_IN", "POM_5V_IN", "VIN_SYS_5V0")
"""Rails with the module's total power: Orin and Xavier NX; Nano; Xavier."""
THROTTLED = 0.95  # share of the first clock below which the GPU counts as throttled


@dataclass(frozen=True)
class PowerMode:
    """A power mode of nvpmodel."""

    name: str
    number: int


@dataclass(frozen=True)
class Sample:
    """One line of tegrastats."""

    memory_mb: tuple[int, int]
    """Used and total RAM, MB."""
    gpu_load: int
    """Percent."""
    gpu_mhz: int | None
    """None if this JetPack release does not report it."""
    cpu_mhz: tuple[int, ...]
    """Clocks of the cores that are on."""
    temperatures: dict[str, float] = field(default_factory=dict)
    """Temperatures in degrees C by zone."""
    milliwatts: dict[str, int] = field(default_factory=dict)
    """Current power by rail."""

    @property
    def total_milliwatts(self) -> int | None:
        """Total power of the module; None if its rail is unknown."""
        return next((self.milliwatts[rail] for rail in TOTAL_RAILS if rail in self.milliwatts), None)


def is_jetson(model: Path = MODEL) -> bool:
    """Whether this machine is a Jetson, by its device tree."""
    return model.is_file() and "jetson" in model.read_text(encoding="utf-8", errors="replace").lower()


def parse_power_mode(text: str) -> PowerMode:
    """Parse the output of `nvpmodel -q`; ValueError for other text."""
    found = MODE.search(text)
    if found is None:
        raise ValueError(f"nvpmodel said {text.strip()[:80]!r}, expected 'NV Power Mode: NAME' and its number")
    return PowerMode(found[1], int(found[2]))


def parse_sample(line: str) -> Sample:
    """Parse a line of tegrastats; ValueError for other text."""
    memory, gpu = MEMORY.search(line), GPU.search(line)
    if memory is None:
        raise ValueError(f"tegrastats said {line.strip()[:80]!r}, expected a line with 'RAM used/totalMB'")
    cores = CPU.search(line)
    clocks = re.findall(r"@(\d+)", cores[1]) if cores else []
    return Sample(
        memory_mb=(int(memory[1]), int(memory[2])),
        gpu_load=int(gpu[1]) if gpu else 0,
        gpu_mhz=int(gpu[2]) if gpu and gpu[2] else None,
        cpu_mhz=tuple(map(int, clocks)),
        temperatures={zone.lower(): float(degrees) for zone, degrees in TEMPERATURE.findall(line)},
        milliwatts={rail: int(now) for rail, now, _ in RAIL.findall(line)},
    )


def summary(samples: Sequence[Sample], people: int, seconds: float) -> dict[str, object]:
    """Energy per person, and whether the GPU was throttled, from evenly spaced samples of a run over `people`."""
    if not samples or people < 1 or seconds <= 0:
        raise ValueError(f"{len(samples)} samples, {people} people, {seconds} s: expected some of each")
    watts = [sample.total_milliwatts / 1e3 for sample in samples if sample.total_milliwatts is not None]
    clocks = [sample.gpu_mhz for sample in samples if sample.gpu_mhz]
    hottest = max((max(sample.temperatures.values(), default=float("nan")) for sample in samples), default=float("nan"))
    return {
        "people_per_s": round(people / seconds, 2),
        "watts": round(float(np.mean(watts)), 2) if watts else None,
        "millijoules_per_person": round(1e3 * float(np.mean(watts)) * seconds / people, 2) if watts else None,
        "hottest_c": hottest,
        "throttled": bool(clocks) and min(clocks) < THROTTLED * clocks[0],
    }


def power_mode() -> PowerMode:
    """Current power mode of this Jetson; RuntimeError if nvpmodel is missing or fails."""
    return parse_power_mode(_run("nvpmodel", "-q"))


def set_power_mode(number: int) -> None:
    """Set the power mode, which needs root; RuntimeError if nvpmodel fails."""
    _run("nvpmodel", "-m", str(number))


@contextmanager
def watching(interval_ms: int = 1000) -> Iterator[list[Sample]]:
    """Collect samples of tegrastats while the block runs; the list stays empty without tegrastats."""
    path, samples = shutil.which("tegrastats"), list[Sample]()
    if path is None:
        yield samples
        return
    command = [path, "--interval", str(interval_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        lines = process.stdout
        reader = Thread(target=lambda: samples.extend(map(parse_sample, lines)), daemon=True)
        reader.start()
        try:
            yield samples
        finally:
            process.terminate()
            reader.join(timeout=5)


def _run(program: str, *arguments: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise RuntimeError(f"{program} is not on this machine: it comes with JetPack")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{program} {' '.join(arguments)} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout

import time
from pathlib import Path

import pytest

from lehrnet.benchmarks.jetson import (
    PowerMode,
    Sample,
    is_jetson,
    parse_power_mode,
    parse_sample,
    power_mode,
    summary,
    watching,
)

ORIN = (
    "11-24-2026 21:05:00 RAM 3167/7620MB (lfb 2x4MB) SWAP 0/3810MB (cached 0MB) "
    "CPU [12%@1510,8%@1510,off,off,3%@729,1%@729] "
    "EMC_FREQ 0%@2133 GR3D_FREQ 61%@[624] NVDEC off CV0@-256C cpu@52.781C SOC2@49.5C tj@52.781C gpu@50.1C "
    "VDD_IN 6514mW/6120mW VDD_CPU_GPU_CV 2187mW/1890mW VDD_SOC 1454mW/1400mW"
)
NANO = (
    "RAM 1903/3964MB (lfb 150x4MB) SWAP 0/1982MB (cached 0MB) IRAM 0/252kB(lfb 252kB) "
    "CPU [25%@1479,20%@1479,18%@1479,22%@1479] "
    "EMC_FREQ 4%@1600 GR3D_FREQ 99%@921 APE 25 PLL@41C CPU@44.5C PMIC@100C GPU@42.5C AO@50C thermal@43.5C "
    "POM_5V_IN 5420mW/5100mW POM_5V_GPU 1800mW/1700mW POM_5V_CPU 900mW/850mW"
)


def test_a_line_of_an_orin_is_read() -> None:
    sample = parse_sample(ORIN)
    assert sample.memory_mb == (3167, 7620)
    assert (sample.gpu_load, sample.gpu_mhz) == (61, 624)
    assert sample.cpu_mhz == (1510, 1510, 729, 729)
    assert sample.temperatures["gpu"] == 50.1
    assert sample.total_milliwatts == 6514


def test_a_line_of_a_nano_is_read() -> None:
    sample = parse_sample(NANO)
    assert (sample.gpu_load, sample.gpu_mhz, sample.total_milliwatts) == (99, 921, 5420)
    assert sample.temperatures["thermal"] == 43.5


def test_a_power_mode_is_read() -> None:
    assert parse_power_mode("NV Power Mode: 15W\n0\n") == PowerMode("15W", 0)
    assert parse_power_mode("NVPM WARN: fan mode is not set!\nNV Power Mode: MAXN\n0\n") == PowerMode("MAXN", 0)


def test_energy_is_power_times_time_by_person() -> None:
    """6.514 W over 10 s are 65.14 J, and 200 people have 325.7 mJ each."""
    facts = summary([parse_sample(ORIN)] * 4, people=200, seconds=10)
    assert facts["people_per_s"] == 20
    assert facts["millijoules_per_person"] == pytest.approx(325.7, abs=0.5)
    assert facts["throttled"] is False


def test_a_clock_that_falls_is_throttling() -> None:
    samples = [Sample((1, 2), 90, mhz, (), {"gpu": 80.0}, {}) for mhz in (624, 620, 400)]
    facts = summary(samples, people=1, seconds=1)
    assert (facts["throttled"], facts["watts"], facts["hottest_c"]) == (True, None, 80)


def test_what_is_something_else_is_shown(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="RAM used/totalMB"):
        parse_sample("bash: tegrastats: command not found")
    with pytest.raises(ValueError, match="NV Power Mode"):
        parse_power_mode("")
    with pytest.raises(ValueError, match="0 samples"):
        summary([], 1, 1)
    assert not is_jetson(tmp_path / "model")
    (tmp_path / "model").write_text("NVIDIA Jetson Orin Nano Developer Kit\0")
    assert is_jetson(tmp_path / "model")


def test_samples_are_collected_while_something_runs(tmp_path: Path, monkeypatch) -> None:
    tool = tmp_path / "tegrastats"
    tool.write_text(f"#!/bin/sh\nwhile true; do echo '{ORIN}'; sleep 0.01; done\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with watching() as samples:
        deadline = time.monotonic() + 10
        while len(samples) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
    assert {sample.gpu_mhz for sample in samples} == {624}


@pytest.mark.skipif(is_jetson(), reason="this is a Jetson")
def test_elsewhere_there_is_no_nvpmodel() -> None:
    with pytest.raises(RuntimeError, match="JetPack"):
        power_mode()

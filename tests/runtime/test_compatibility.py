from dataclasses import asdict, replace

import pytest

from lehrnet.parsing import parse
from lehrnet.runtime.compatibility import BuiltFor, Machine, differences

BUILT = BuiltFor("tensorrt", "10.3.0", ("8.7",), "Linux", "aarch64", gpu="Orin", driver="12.6")
HERE = Machine("tensorrt", "10.3.0", "8.7", "Orin", "Linux", "aarch64")


def test_the_machine_it_was_built_on_fits() -> None:
    assert differences(BUILT, HERE) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"library": "tensorrt_rtx"}, "for tensorrt, here is tensorrt_rtx"),
        ({"version": "10.4.0"}, "built by tensorrt 10.3.0, here is 10.4.0, and it was not built version-compatible"),
        ({"compute_capability": "8.6", "gpu": "RTX A2000"}, "8.7 (Orin), here is 8.6 (RTX A2000)"),
        ({"machine": "x86_64"}, "Linux on aarch64, here is Linux on x86_64"),
        ({"system": "Windows"}, "here is Windows on aarch64"),
    ],
)
def test_what_differs_is_named(change: dict[str, str], reason: str) -> None:
    (found,) = differences(BUILT, replace(HERE, **change))
    assert reason in found


def test_every_difference_is_named_at_once() -> None:
    assert len(differences(BUILT, Machine("tensorrt", "11.0", "9.0", "", "Linux", "x86_64"))) == 3


@pytest.mark.parametrize(
    ("version", "fits"), [("10.3.0", True), ("10.9.1", True), ("10.2.9", False), ("11.0.0", False)]
)
def test_a_version_compatible_engine_runs_on_later_ones_of_its_major(version: str, fits: bool) -> None:
    built = replace(BUILT, version_compatible=True)
    assert (differences(built, replace(HERE, version=version)) == []) is fits


@pytest.mark.parametrize(
    ("hardware", "capability", "fits"),
    [
        ("ampere_plus", "9.0", True),
        ("ampere_plus", "12.0", True),
        ("ampere_plus", "7.5", False),
        ("same_compute_capability", "8.7", True),
        ("same_compute_capability", "8.9", False),
        ("none", "8.9", False),
    ],
)
def test_hardware_compatible_engines_run_on_others(hardware, capability: str, fits: bool) -> None:
    built = replace(BUILT, hardware=hardware)
    assert (differences(built, replace(HERE, compute_capability=capability)) == []) is fits


def test_it_is_read_as_it_was_written_and_what_is_unknown_is_left_out() -> None:
    facts = {**asdict(BUILT), "compute_capabilities": ["8.7"], "of_the_future": 1}
    assert parse(BuiltFor, facts) == BUILT

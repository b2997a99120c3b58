"""Which artefact stands behind "auto", by bundle, device and machine."""

from dataclasses import replace
from pathlib import Path

import pytest

from lehrnet.runtime.bundle import Bundle, open_bundle
from lehrnet.runtime.devices import AUTO, chosen


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    """A bundle whose manifest also lists a packed network."""
    found = open_bundle(tiny_bundle)
    packed = replace(found.artefacts["fp32"], file="native_fp32.lehrnet", form="native", requires=("lehrnet_library",))
    return replace(found, artefacts={**found.artefacts, "native_fp32": packed})


@pytest.mark.parametrize(
    ("device", "library", "gpu", "expected"),
    [
        ("cpu", True, False, "native_fp32"),
        ("cpu", True, True, "native_fp32"),
        ("cpu", False, False, "fp32"),
        ("auto", True, False, "native_fp32"),
        ("auto", True, True, "fp32"),
        ("cuda", True, True, "fp32"),
        ("cuda:1", True, True, "fp32"),
    ],
)
def test_auto_is_our_engine_where_a_cpu_runs_and_the_library_is_there(
    device: str, library: bool, gpu: bool, expected: str, bundle: Bundle, monkeypatch
) -> None:
    monkeypatch.setattr("lehrnet.runtime.backends.library_path.find_library", lambda: "library" if library else None)
    monkeypatch.setattr("lehrnet.runtime.devices._name_if_there", lambda _: "a GPU" if gpu else None)
    assert chosen(bundle, AUTO, device) == expected


def test_a_bundle_without_a_packed_network_runs_its_graph(tiny_bundle: Path) -> None:
    assert chosen(open_bundle(tiny_bundle), AUTO, "cpu") == "fp32"


def test_a_bundle_with_nothing_else_runs_its_packed_network_or_says_what_it_lacks(bundle: Bundle, monkeypatch) -> None:
    alone = replace(bundle, artefacts={"native_fp32": bundle.artefacts["native_fp32"]})
    monkeypatch.setattr("lehrnet.runtime.backends.library_path.find_library", lambda: None)
    assert chosen(alone, AUTO, "auto") == "native_fp32"


def test_other_names_stand_for_themselves(bundle: Bundle) -> None:
    assert chosen(bundle, "int8", "cpu") == "int8"

import pytest

from lehrnet.benchmarks.roofline import Roofline, measure_roofline

ROOFS = Roofline(100e9, {1 << 10: 50e9, 1 << 20: 10e9})


def test_the_longer_of_arithmetic_and_traffic_counts() -> None:
    assert ROOFS.seconds(1e9, 10) == pytest.approx(0.01)
    assert ROOFS.seconds(1, 1 << 20) == pytest.approx((1 << 20) / 10e9)


def test_what_fits_the_cache_is_read_from_it_and_more_than_was_measured_from_memory() -> None:
    assert ROOFS.bandwidth(1000) == 50e9
    assert ROOFS.bandwidth(5000) == 10e9
    assert ROOFS.bandwidth(1 << 30) == 10e9


def test_a_noisy_small_size_is_no_slower_than_a_larger_one() -> None:
    assert Roofline(1, {1 << 10: 1e9, 1 << 20: 2e9}).bandwidth(1) == 2e9


def test_this_machine_has_roofs() -> None:
    found = measure_roofline(threads=1)
    assert found.macs_per_s > 1e8
    assert min(found.bytes_per_s.values()) > 1e8

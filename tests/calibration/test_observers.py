import numpy as np
import pytest

from lehrnet.calibration.observers import BINS, METHODS, Observer


def seen(*batches: np.ndarray) -> Observer:
    observer = Observer()
    for batch in batches:
        observer.update(batch)
    return observer


@pytest.fixture
def bell() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(200_000).astype(np.float32)


def test_minmax_clips_nothing(bell) -> None:
    assert seen(bell).threshold("minmax") == pytest.approx(np.abs(bell).max())


def test_percentile_leaves_one_value_in_ten_thousand_out(bell) -> None:
    observer = seen(bell)
    outside = (np.abs(bell) > observer.threshold("percentile")).mean()
    assert 0 < outside <= 1e-4 + 1 / BINS


def test_mse_is_the_least_squared_error_of_all_thresholds(bell) -> None:
    observer = seen(bell)

    def error(threshold: float) -> float:
        scale = threshold / 127
        return float(np.square(np.rint(bell / scale).clip(-127, 127) * scale - bell).mean())

    width = observer.limit / BINS
    tried = [error(width * place) for place in range(200, BINS, 8) if width * place < observer.amax]
    assert error(observer.threshold("mse")) <= 1.02 * min(tried)


def test_entropy_clips_a_long_tail_and_keeps_a_uniform_distribution() -> None:
    uniform = np.random.default_rng(0).uniform(0, 1, 100_000)
    assert seen(uniform).threshold("entropy") > 0.95
    tail = np.append(uniform, 40.0)
    assert seen(tail).threshold("entropy") < 10


def test_the_zeros_of_a_relu_do_not_pull_the_entropy_threshold_down(bell) -> None:
    positive = np.abs(bell)
    with_zeros = np.append(positive, np.zeros(10 * len(positive), np.float32))
    assert seen(with_zeros).threshold("entropy") > 0.5 * seen(positive).threshold("entropy")


def test_the_order_of_batches_changes_nothing_that_is_kept(bell) -> None:
    parts = np.array_split(bell, 7)
    one, other = seen(*parts), seen(*parts[::-1])
    assert (one.counts == other.counts).all()
    assert [one.threshold(method) for method in METHODS] == [other.threshold(method) for method in METHODS]


def test_a_tensor_of_zeros_has_a_scale() -> None:
    assert {seen(np.zeros(9)).threshold(method) for method in METHODS} == {1.0}


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        seen(np.array([1.0, np.nan]))


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(ValueError, match="'median', expected one of minmax"):
        seen(np.ones(3)).threshold("median")  # pyright: ignore[reportArgumentType]

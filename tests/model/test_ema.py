"""The exact algebra against the published module, outputs and gradients."""

import pytest
import torch

from lehrnet.model.ema import EMA
from lehrnet.model.forms import FrozenEMA, PublishedEMA

# Width of the branch and its grid, for crops of 256x192 and of 256x256.
BRANCHES = [(32, (64, 48)), (64, (32, 24)), (128, (16, 12)), (256, (8, 6)), (32, (64, 64)), (256, (8, 8))]
branches = pytest.mark.parametrize(("channels", "grid"), BRANCHES)


def random_ema(channels: int, groups: int, dtype: torch.dtype, randomized) -> EMA:
    torch.manual_seed(channels)
    return randomized(EMA(channels, groups)).to(dtype)


@branches
@pytest.mark.parametrize("groups", [32, 16])
@pytest.mark.parametrize("batch", [1, 3])
def test_outputs_equal_the_published_form(channels, grid, groups, batch, randomized) -> None:
    ema = random_ema(channels, groups, torch.float64, randomized)
    x = torch.randn(batch, channels, *grid, dtype=torch.float64)
    expected = PublishedEMA(ema)(x)
    torch.testing.assert_close(ema(x), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(FrozenEMA(ema, grid)(x), expected, rtol=1e-9, atol=1e-9)


@branches
@torch.no_grad()
def test_single_precision_keeps_four_digits(channels, grid, randomized) -> None:
    ema = random_ema(channels, 32, torch.float32, randomized)
    x = torch.randn(3, channels, *grid)
    expected = PublishedEMA(ema)(x)
    assert float((FrozenEMA(ema, grid)(x) - expected).abs().max()) <= 1e-4 * float(expected.abs().max())


@pytest.mark.parametrize("channels", [32, 128])
def test_gradients_equal_the_published_forms(channels, randomized) -> None:
    ema = random_ema(channels, 32, torch.float64, randomized)
    x = torch.randn(2, channels, 8, 6, dtype=torch.float64, requires_grad=True)
    variables = [x, *ema.parameters()]
    gradients = [torch.autograd.grad(form(x).square().sum(), variables) for form in (ema, PublishedEMA(ema))]
    for ours, published in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, published, rtol=1e-8, atol=1e-9)


def test_channels_that_do_not_divide_into_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="48 channels do not divide into 32 groups"):
        EMA(48, 32)

"""EMA that is grown into a lean network changes nothing until it learns, and then it does learn."""

import pytest
import torch

from lehrnet.model import NetworkConfig, PoseNetwork
from lehrnet.model.grow import with_ema

LEAN = NetworkConfig(width=8, units=1, modules=(1, 1, 1), attention=False)


@pytest.fixture
def lean() -> PoseNetwork:
    torch.manual_seed(0)
    network = PoseNetwork(LEAN)
    network(torch.randn(4, 3, 64, 64))  # running statistics other than 0 and 1
    return network.eval()


def test_the_heatmaps_stay_the_same(lean: PoseNetwork) -> None:
    crops = torch.randn(2, 3, 64, 64)
    grown = with_ema(lean).eval()
    assert grown.config.attention
    torch.testing.assert_close(grown(crops), lean(crops), rtol=1e-5, atol=1e-6)


def test_gradients_reach_every_ema(lean: PoseNetwork) -> None:
    grown = with_ema(lean).train()
    grown(torch.randn(2, 3, 64, 64)).square().mean().backward()
    norms = {name: p.grad for name, p in grown.named_parameters() if "attention.norm.weight" in name}
    assert norms
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in norms.values())


def test_what_has_ema_grows_no_other(lean: PoseNetwork) -> None:
    with pytest.raises(ValueError, match="has EMA already"):
        with_ema(with_ema(lean))

import pytest
import torch

from lehrnet.model import create_model, list_models
from lehrnet.model.blocks import Basicblock, Leanblock, LeEMAFusionblock


def parameters(module: torch.nn.Module) -> int:
    """Weights of convs, as the paper counts a block: norms are left out."""
    return sum(conv.weight.numel() for conv in module.modules() if isinstance(conv, torch.nn.Conv2d))


@pytest.mark.parametrize("channels", [32, 64, 128, 256])
def test_a_leanblock_saves_82_64_percent_of_a_basicblock(channels: int) -> None:
    lean, basic = parameters(Leanblock(channels)), parameters(Basicblock(channels))
    assert (lean, basic) == (3.125 * channels**2, 18 * channels**2)
    assert 1 - lean / basic == pytest.approx(0.8264, abs=5e-5)


@pytest.mark.parametrize("name", list_models())
def test_every_variant_gives_one_quarter_size_heatmap_a_joint(name: str) -> None:
    with torch.no_grad():
        assert create_model(name, joints=16).eval()(torch.zeros(2, 3, 128, 96)).shape == (2, 16, 32, 24)


def test_a_fusionblock_is_a_leanblock_whose_operators_ema_weighs() -> None:
    torch.manual_seed(0)
    block = LeEMAFusionblock(64, groups=32).eval()
    x = torch.randn(1, 64, 16, 12)
    torch.testing.assert_close(block(x), torch.relu(block.attention(block.operators(x)) + x))


def test_a_seed_gives_the_same_network() -> None:
    weights = []
    for _ in range(2):
        torch.manual_seed(3)
        weights.append(create_model("lehrnet_w16").head.weight)
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)

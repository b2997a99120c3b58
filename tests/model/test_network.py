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


class Times(torch.nn.Module):
    """An attention that weighs every map alike."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.weight * maps


def test_a_fusionblock_is_a_leanblock_whose_operators_ema_weighs_and_not_its_shortcut(randomized) -> None:
    torch.manual_seed(0)
    fusion = randomized(LeEMAFusionblock(64, groups=32)).eval()
    lean = Leanblock(64).eval()
    unused = lean.load_state_dict(fusion.state_dict(), strict=False).unexpected_keys
    assert unused
    assert all(name.startswith("attention.") for name in unused)
    x = torch.randn(2, 64, 16, 12)
    with torch.no_grad():
        weighed = fusion(x)
        fusion.attention = Times(1)
        torch.testing.assert_close(fusion(x), lean(x))
        assert not torch.allclose(weighed, lean(x), atol=0.1)
        fusion.attention = Times(0)
        torch.testing.assert_close(fusion(x), torch.relu(x))


def test_a_seed_gives_the_same_network() -> None:
    weights = []
    for _ in range(2):
        torch.manual_seed(3)
        weights.append(create_model("lehrnet_w16").head.weight)
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)

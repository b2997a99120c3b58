"""Every rewrite computes what the training form computes."""

from typing import get_args

import pytest
import torch
from torch import nn

from lehrnet.model import create_model
from lehrnet.model.blocks import ConvNorm, LConv, Leanblock
from lehrnet.model.forms import LConvForm, LeanPair, SummedLConv, as_published, dense_lconv, deploy, fold_norms

WIDTHS = [32, 64, 128, 256]
SHAPES = [(width, width, stride) for width in WIDTHS for stride in (1, 2)] + [(64, 128, 2), (256, 32, 1)]
PRECISIONS = [(torch.float64, 1e-9), (torch.float32, 1e-4)]
shapes = pytest.mark.parametrize(("inputs", "outputs", "stride"), SHAPES)
precisions = pytest.mark.parametrize(("dtype", "limit"), PRECISIONS, ids=["float64", "float32"])


def assert_equal(found: torch.Tensor, expected: torch.Tensor, limit: float) -> None:
    """Within `limit` of the expected values' range."""
    assert float((found - expected).abs().max()) <= limit * float(expected.max() - expected.min())


@shapes
@precisions
@torch.no_grad()
def test_folding_and_the_forms_of_an_lconv_change_nothing(inputs, outputs, stride, dtype, limit, randomized) -> None:
    torch.manual_seed(inputs + stride)
    before = nn.Sequential(randomized(ConvNorm(LConv(inputs, outputs, stride), outputs))).to(dtype).eval()
    folded = fold_norms(before)[0]
    assert isinstance(folded, LConv)
    x = torch.randn(3, inputs, 16, 12, dtype=dtype)
    for form in (folded, SummedLConv(folded), dense_lconv(folded)):
        assert_equal(form(x), before(x), limit)


@pytest.mark.parametrize("width", WIDTHS)
@precisions
@torch.no_grad()
def test_a_lean_pair_is_its_two_lconvs(width, dtype, limit, randomized) -> None:
    torch.manual_seed(width)
    block = fold_norms(randomized(Leanblock(width))).eval().to(dtype)
    assert isinstance(block.first, LConv)
    assert isinstance(block.second, LConv)
    x = torch.randn(3, width, 16, 12, dtype=dtype)
    assert_equal(LeanPair(block.first, block.second)(x), block.operators(x), limit)


@pytest.mark.parametrize(
    ("form", "size"), [*((form, (96, 64)) for form in get_args(LConvForm)), ("pair", (256, 192)), ("pair", (256, 256))]
)
@torch.no_grad()
def test_the_deployed_network_is_the_network(form: LConvForm, size: tuple[int, int], randomized) -> None:
    torch.manual_seed(0)
    network = randomized(create_model("lehrnet_w16")).eval()
    x = torch.randn(1, 3, *size)
    assert_equal(deploy(network, size, form)(x), network(x), 1e-4)


@pytest.mark.parametrize("name", ["lehrnet_w32", "lehrnet_w32_literal_lean", "hrnet_w32", "lehrnet_w24"])
@torch.no_grad()
def test_every_variant_deploys_exactly(name: str, randomized) -> None:
    torch.manual_seed(0)
    network = randomized(create_model(name)).double().eval()
    x = torch.randn(3, 3, 64, 64, dtype=torch.float64)
    deployed = deploy(network, (64, 64))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in deployed.modules())
    assert_equal(deployed(x), network(x), 1e-9)
    assert_equal(as_published(network)(x), network(x), 1e-9)


def test_a_rewrite_leaves_the_network_as_it_was(tiny_checkpoint) -> None:
    before = {name: tensor.clone() for name, tensor in tiny_checkpoint.network.state_dict().items()}
    deploy(tiny_checkpoint.network, (64, 64), "dense")
    after = tiny_checkpoint.network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())

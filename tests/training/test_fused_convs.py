"""LConv and the 1x1 conv as operators of their own, against the modules that define them."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lehrnet.model import NetworkConfig, PoseNetwork
from lehrnet.model.blocks import LConv
from lehrnet.pose.spec import PoseSpec
from lehrnet.training import fused_library as library
from lehrnet.training.batches import Batches
from lehrnet.training.fused_convs import fused_lconv, fused_pointwise, serves_lconv, serves_pointwise
from lehrnet.training.pack import read_pack
from lehrnet.training.recipe import Recipe
from lehrnet.training.trainer import Run, Trainer

LAYOUTS = (torch.channels_last, torch.contiguous_format)
WIDTHS = [(4, 4), (8, 4), (12, 12), (16, 32), (24, 24), (32, 32), (64, 32), (32, 64), (256, 64)]
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 0.02}  # of the greatest value; 8 bits


@pytest.fixture(autouse=True)
def built() -> None:
    if library.fused_library() is None:
        pytest.skip("no C++ compiler with OpenMP")


def found(run: Callable[[Tensor], Tensor], module: nn.Module, x: Tensor) -> list[Tensor]:
    """The output, and the gradients by the map and by the weights."""
    x = x.detach().clone().requires_grad_()
    module.zero_grad()
    out = run(x)
    out.backward(torch.randn(out.shape, generator=torch.Generator().manual_seed(3)).to(out.dtype))
    return [out.detach(), *(each.grad.detach() for each in (x, *module.parameters()) if each.grad is not None)]


def agree(ours: list[Tensor], exact: list[Tensor], tolerance: float) -> None:
    assert len(ours) == len(exact)
    for a, b in zip(ours, exact, strict=True):
        assert a.shape == b.shape
        assert float((a.double() - b).abs().max()) <= tolerance * float(b.abs().max())


def maps(channels: int, grid: tuple[int, int], layout: torch.memory_format) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(3, channels, *grid).bfloat16().float().contiguous(memory_format=layout)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS, ids=["channels last", "contiguous"])
@pytest.mark.parametrize(("stride", "grid"), [(1, (8, 6)), (1, (5, 7)), (1, (1, 3)), (2, (8, 6)), (2, (2, 4))], ids=str)
def test_lconv_and_its_gradients_equal_the_definition(stride: int, grid: tuple[int, int], layout, dtype) -> None:
    for channels, to in WIDTHS:
        torch.manual_seed(0)
        exact = LConv(channels, to, stride).double()
        for parameter in exact.parameters():
            parameter.data = parameter.data.bfloat16().double()  # the same weights in every type
        module = copy.deepcopy(exact).to(torch.float64 if dtype == torch.float64 else torch.float32)
        x = maps(channels, grid, layout).to(dtype)
        assert serves_lconv(module, x)
        ours = found(lambda x, module=module: fused_lconv(module, x), module, x)
        assert ours[0].is_contiguous(memory_format=torch.channels_last)
        assert ours[0].dtype == dtype
        agree(ours, found(exact, exact, x.double()), TOLERANCES[dtype])


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS, ids=["channels last", "contiguous"])
def test_a_pointwise_conv_equals_pytorchs(layout, dtype) -> None:
    for channels, to in [*WIDTHS, (3, 5)]:
        torch.manual_seed(0)
        exact = nn.Conv2d(channels, to, 1, bias=False).double()
        exact.weight.data = exact.weight.data.bfloat16().double()
        conv = copy.deepcopy(exact).to(torch.float64 if dtype == torch.float64 else torch.float32)
        x = maps(channels, (5, 7), layout).to(dtype)
        assert serves_pointwise(conv, x)
        ours = found(lambda x, conv=conv: fused_pointwise(conv, x), conv, x)
        agree(ours, found(exact, exact, x.double()), TOLERANCES[dtype])


def test_under_autocast_float32_maps_are_computed_in_bfloat16() -> None:
    block, x = LConv(16, 16), maps(16, (8, 6), torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        ours = found(lambda x: fused_lconv(block, x), block, x)
        assert fused_lconv(block.double(), x.double()).dtype == torch.float64
    assert [each.dtype for each in ours] == [torch.bfloat16, torch.float32, torch.float32, torch.float32]


def test_what_is_not_served_is_left_to_the_definition() -> None:
    x = torch.zeros(1, 16, 8, 6)
    assert not serves_lconv(LConv(16, 16, 2), x[:, :, :7])
    assert not serves_lconv(LConv(16, 16), x.half())
    assert not serves_pointwise(nn.Conv2d(16, 16, 1), x)
    assert not serves_pointwise(nn.Conv2d(16, 16, 1, 2, bias=False), x)
    assert not serves_pointwise(nn.Conv2d(16, 16, 3, bias=False), x)
    assert not serves_pointwise(nn.Conv2d(16, 16, 1, groups=2, bias=False), x)
    with torch.autocast("cpu", torch.float16):
        assert not serves_lconv(LConv(16, 16), x)


def a_trainer(pack: Path, run: Run) -> Trainer:
    torch.manual_seed(0)
    network = PoseNetwork(NetworkConfig(width=8, units=1, modules=(1, 1, 1)))
    people = Batches(read_pack(pack), PoseSpec(input_size=(64, 64)), torch.device("cpu"))
    return Trainer(network, Recipe(spec=people.spec, epochs=4, batch=2, weight_decay=0.1), people, None, run)


def test_a_run_without_fused_operators_is_resumed_with_them_and_back(packed: Path, tmp_path: Path) -> None:
    plain = Run(tmp_path, validate_every=100, save_every=1, fused_ops=False)
    for number, run in enumerate((plain, replace(plain, fused_ops=True), plain)):
        trainer = a_trainer(packed, run)
        assert all(bool(group["fused"]) is run.fused_ops for group in trainer.optimizer.param_groups)
        trainer.steps = 4 * (number + 1)
        if number:
            trainer.resume()
            assert trainer.step == 4 * number
        trainer.train()
        assert all(float(moments["step"]) == trainer.step for moments in trainer.optimizer.state.values())

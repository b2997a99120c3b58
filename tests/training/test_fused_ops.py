"""Fused operators against their definitions: `EMA`, and PyTorch's batch norm, sum and ReLU."""

import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lehrnet.model import NetworkConfig, PoseNetwork
from lehrnet.model.ema import EMA
from lehrnet.pose.spec import PoseSpec
from lehrnet.training import fused_library as library
from lehrnet.training.batches import Batches
from lehrnet.training.fused_blocks import FusedLeEMAFusionblock, fuse
from lehrnet.training.fused_ops import fused_ema, fused_norm
from lehrnet.training.pack import read_pack
from lehrnet.training.recipe import Recipe
from lehrnet.training.trainer import Run, Trainer

GROUPS = {"lehrnet_w32": 32, "lehrnet_w24": 24, "lehrnet_w16": 16, "odd": 5}
WIDTHS = (1, 2, 3, 4, 8)
GRIDS = ((8, 6), (6, 4), (4, 3), (5, 7), (1, 3))
LAYOUTS = (torch.channels_last, torch.contiguous_format)


@pytest.fixture
def built() -> None:
    if library.fused_library() is None:
        pytest.skip("no C++ compiler with OpenMP")


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What was found out about the library is found out anew, before and after."""
    library.fused_library.cache_clear()
    yield
    library.fused_library.cache_clear()


def found(run: Callable[..., Tensor], module: nn.Module, *maps: Tensor) -> list[Tensor]:
    """The output of `run(*maps)`, and the gradients by the maps and the parameters of `module`."""
    maps = tuple(each.detach().clone().requires_grad_() for each in maps)
    module.zero_grad()
    out = run(*maps)
    wanted = torch.randn(out.shape, generator=torch.Generator().manual_seed(3)).to(out)
    out.backward(wanted)
    return [out.detach(), *(each.grad for each in (*maps, *module.parameters()) if each.grad is not None)]


def far(found: list[Tensor], exact: list[Tensor]) -> list[float]:
    """The greatest difference of each, relative to its greatest value."""
    assert len(found) == len(exact)
    return [
        float((a.double() - b).abs().max() / b.abs().max().clamp_min(1e-9)) for a, b in zip(found, exact, strict=True)
    ]


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([each.flatten() for each in tensors])


def an_ema(groups: int, width: int) -> EMA:
    torch.manual_seed(0)
    module = EMA(groups * width, groups)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def maps_for(channels: int, grid: tuple[int, int], layout: torch.memory_format) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    x, shortcut = torch.randn(2, 3, channels, *grid)
    return x.contiguous(memory_format=layout), shortcut.contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", LAYOUTS, ids=["channels last", "contiguous"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", GROUPS)
def test_ema_and_its_gradients_equal_the_definition(built: None, name: str, width: int, layout) -> None:
    module = an_ema(GROUPS[name], width)
    exact_module = copy.deepcopy(module).double()
    for grid in GRIDS:
        x, shortcut = maps_for(GROUPS[name] * width, grid, layout)
        exact = found(lambda x, s: F.relu(exact_module(x) + s), exact_module, x.double(), shortcut.double())
        doubled = found(lambda x, s: fused_ema(exact_module, x, s), exact_module, x.double(), shortcut.double())
        assert max(far(doubled, exact)) < 1e-9, grid  # the same algebra: what is left is rounding
        ours = found(lambda x, s: fused_ema(module, x, s), module, x, shortcut)
        assert max(far(ours[:3], exact[:3])) < 1e-5, grid
        # A weight's gradient is a sum that may cancel: relative to the greatest of all weights'.
        assert max(far([flat(ours[3:])], [flat(exact[3:])])) < 1e-5, grid


@pytest.mark.parametrize("summed", [True, False], ids=["sum", "no sum"])
def test_ema_passes_gradcheck(built: None, summed: bool) -> None:
    module = an_ema(3, 2).double()
    maps = [each.double().requires_grad_() for each in maps_for(6, (3, 4), torch.contiguous_format)][: 1 + summed]
    names = [name for name, _ in module.named_parameters()]

    def run(*given: Tensor) -> Tensor:
        with torch.nn.utils.stateless._reparametrize_module(module, dict(zip(names, given, strict=False))):
            return fused_ema(module, *given[len(names) :])

    assert torch.autograd.gradcheck(run, (*(each.detach().requires_grad_() for each in module.parameters()), *maps))


def test_bfloat16_maps_give_what_float32_gives_to_their_rounding(built: None) -> None:
    module, norm = an_ema(16, 4), nn.BatchNorm2d(64)
    x, shortcut = (each.bfloat16() for each in maps_for(64, (6, 4), torch.channels_last))
    for run, owner in (
        (lambda x, s: fused_ema(module, x, s), module),
        (lambda x, s: fused_norm(norm, x, relu=True, shortcut=s), norm),
    ):
        exact = [each.double() for each in found(run, owner, x.float(), shortcut.float())]
        half = found(run, owner, x, shortcut)
        assert half[0].dtype == torch.bfloat16
        assert max(far(half, exact)) < 0.02  # 8 bits


@pytest.mark.parametrize("channels", [3, 16, 24, 32, 72, 256])
@pytest.mark.parametrize("relu", [True, False], ids=["relu", "no relu"])
@pytest.mark.parametrize("summed", [True, False], ids=["sum", "no sum"])
def test_norm_its_gradients_and_statistics_equal_pytorchs(built: None, channels: int, relu: bool, summed: bool) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(channels)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    plain = copy.deepcopy(norm)

    def definition(x: Tensor, *shortcut: Tensor) -> Tensor:
        y = sum(shortcut, plain(x))
        return F.relu(y) if relu else y

    x, shortcut = maps_for(channels, (9, 7), torch.channels_last)
    maps = (3 * x + 5, shortcut)[: 1 + summed]
    ours = found(lambda x, s=None: fused_norm(norm, x, relu=relu, shortcut=s), norm, *maps)
    theirs = found(definition, plain, *maps)
    assert max(far(ours, [each.double() for each in theirs])) < 1e-5
    for name, buffer in norm.named_buffers():
        torch.testing.assert_close(buffer, plain.get_buffer(name), rtol=1e-5, atol=1e-6)


def test_gradients_do_not_depend_on_the_threads(built: None) -> None:
    module, threads = an_ema(16, 2), torch.get_num_threads()
    x, shortcut = maps_for(32, (6, 4), torch.channels_last)
    results = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(found(lambda x, s: fused_ema(module, x, s), module, x, shortcut))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_fused_network_keeps_names_statistics_and_gradients(built: None) -> None:
    torch.manual_seed(0)
    plain = PoseNetwork(NetworkConfig(width=8, units=1, modules=(1, 1, 1))).double()
    network = copy.deepcopy(plain)
    assert fuse(network)
    assert any(isinstance(module, FusedLeEMAFusionblock) for module in copy.deepcopy(network).modules())
    x = torch.randn(2, 3, 64, 96, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    assert max(far(found(network, network, x), found(plain, plain, x))) < 1e-6
    assert network.state_dict().keys() == plain.state_dict().keys()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value)
    torch.testing.assert_close(network.eval()(x), plain.eval()(x))


def losses_of(pack: Path, run: Run, steps: int = 4) -> list[float]:
    torch.manual_seed(0)
    network = PoseNetwork(NetworkConfig(width=8, units=1, modules=(1, 1, 1)))
    people = Batches(read_pack(pack), PoseSpec(input_size=(64, 64)), torch.device("cpu"))
    recipe = Recipe(spec=people.spec, epochs=steps, batch=2, learning_rate=1e-5, average=0.9, peak=0.01)
    seen: list[float] = []
    Trainer(network, recipe, people, None, run).train(lambda report: seen.append(report.loss))
    return seen


def test_steps_with_and_without_fused_operators_agree(built: None, packed: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "fused", validate_every=100)
    with_them = losses_of(packed, run)
    without = losses_of(packed, replace(run, out=tmp_path / "plain", fused_ops=False))
    assert with_them == pytest.approx(without, rel=1e-4)


def test_a_machine_without_a_compiler_trains_as_before(
    forgotten: None, packed: Path, tmp_path: Path, monkeypatch, caplog
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with caplog.at_level(logging.WARNING):
        without = losses_of(packed, Run(tmp_path / "none", validate_every=100))
    assert [record.message for record in caplog.records if "fused" in record.message] == [
        "training without fused operators, which is slower: no C++ compiler (g++, clang++, c++) was found"
    ]
    assert without == losses_of(packed, Run(tmp_path / "plain", validate_every=100, fused_ops=False))


@pytest.mark.usefixtures("forgotten")
def test_a_compiler_that_fails_or_a_folder_open_to_others_is_said(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "false")
    assert library.fused_library() is None
    assert "false failed: exit code 1" in caplog.text
    library.fused_library.cache_clear()
    monkeypatch.delenv("CXX")
    monkeypatch.setattr(library, "_said_by", lambda command: "a compiler")
    folder = tmp_path / "lehrnet" / "fused_ops"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    assert library.fused_library() is None
    assert "can be written by others" in caplog.text

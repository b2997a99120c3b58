"""EMA as an operator: its definition against the module, and the kernel's launch, on the CPU, against both."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")

import torch

from lehrnet.model.ema import EMA
from lehrnet.model.forms import FrozenEMA, group_weights
from lehrnet.runtime.cuda.launch import Kernels
from lehrnet.runtime.pytorch.operators import ema, launch_ema

GROUPS = 32
SIZES = [(32, (64, 48)), (64, (32, 24)), (128, (16, 12)), (256, (8, 6))]


def module(channels: int, grid: tuple[int, int]) -> tuple[EMA, list]:
    torch.manual_seed(channels)
    made = EMA(channels, GROUPS)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made.eval(), list(group_weights(FrozenEMA(made, grid)).values())


@pytest.mark.parametrize(("channels", "grid"), SIZES)
def test_the_operator_is_the_module(channels: int, grid: tuple[int, int]) -> None:
    made, weights = module(channels, grid)
    maps, shortcut = torch.randn(2, channels, *grid), torch.randn(2, channels, *grid)
    with torch.no_grad():
        wanted = made(maps)
    torch.testing.assert_close(ema(maps, None, weights, GROUPS, made.norm.eps), wanted, atol=2e-5, rtol=1e-5)
    found = ema(maps, shortcut, weights, GROUPS, made.norm.eps)
    torch.testing.assert_close(found, (wanted + shortcut).relu(), atol=2e-5, rtol=1e-5)
    assert ema(maps.half(), None, weights, GROUPS, made.norm.eps).dtype == torch.float16


@pytest.mark.parametrize(("channels", "grid"), SIZES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("with_shortcut", [False, True])
def test_the_kernel_is_the_operator(
    channels: int, grid: tuple[int, int], last: bool, half: bool, with_shortcut: bool, fake_cuda, kernels
) -> None:
    fake_cuda.kernels = kernels
    made, weights = module(channels, grid)
    layout = torch.channels_last if last else torch.contiguous_format
    number = torch.float16 if half else torch.float32
    maps, shortcut = (torch.randn(2, channels, *grid).to(number).contiguous(memory_format=layout) for _ in range(2))
    added = shortcut if with_shortcut else None
    wanted = ema(maps, added, weights, GROUPS, made.norm.eps)
    found = launch_ema(Kernels(b"kernels"), 0, maps, added, weights, groups=GROUPS, eps=made.norm.eps)
    assert found.is_contiguous(memory_format=layout)
    scale = float(wanted.abs().max())
    torch.testing.assert_close(found, wanted, atol=scale * (2e-3 if half else 2e-5), rtol=0)


def test_a_shortcut_of_another_layout_is_taken(fake_cuda, kernels) -> None:
    fake_cuda.kernels = kernels
    made, weights = module(64, (8, 6))
    maps, shortcut = torch.randn(1, 64, 8, 6), torch.randn(1, 64, 8, 6).contiguous(memory_format=torch.channels_last)
    found = launch_ema(Kernels(b"kernels"), 0, maps, shortcut, weights, groups=GROUPS, eps=made.norm.eps)
    torch.testing.assert_close(found, ema(maps, shortcut, weights, GROUPS, made.norm.eps), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("channels", "grid"), [(96, (8, 6)), (32, (160, 128)), (512, (4, 4))])
def test_what_the_kernel_does_not_take_is_refused(channels: int, grid: tuple[int, int], fake_cuda) -> None:
    made, weights = module(channels, grid)
    with pytest.raises(ValueError, match="use the form without it"):
        launch_ema(
            Kernels(b"kernels"), 0, torch.randn(1, channels, *grid), None, weights, groups=GROUPS, eps=made.norm.eps
        )
    with pytest.raises(ValueError, match="supports float32 and float16, not torch.float64"):
        launch_ema(
            Kernels(b"kernels"), 0, torch.randn(1, 32, 8, 6).double(), None, weights, groups=GROUPS, eps=made.norm.eps
        )


def test_it_is_known_to_torch_compile_s_checks() -> None:
    made, weights = module(64, (8, 6))
    arguments = (torch.randn(2, 64, 8, 6), torch.randn(2, 64, 8, 6), weights, GROUPS, made.norm.eps)
    torch.library.opcheck(ema, arguments, test_utils=("test_schema", "test_faketensor"))

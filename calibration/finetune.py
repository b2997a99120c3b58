"""Quantization-aware fine-tuning: a network learns, from its own FP32 heatmaps, to bear the rounding of INT8.

What is trained is the folded network, whose weights are the ones that INT8 rounds; afterwards the norms are unfolded
again, so that the result is an ordinary checkpoint: it is exported, calibrated and judged like any other.
"""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..files import atomic_file
from ..model.blocks import ConvNorm, LConv
from ..model.forms import deploy
from ..model.network import PoseNetwork
from ..parsing import parse
from ..training.state import check_moments, check_tensors, naming_state, read_dict, require
from .quantize import LARGEST, SMALLEST_SCALE

SAVE_EVERY = 25  # steps


@dataclass(frozen=True)
class Tuning:
    """How long and how fast. The defaults take some minutes on two cores at 128x96."""

    steps: int = 300
    batch: int = 16
    learning_rate: float = 2e-5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or not 0 < self.learning_rate < math.inf:
            raise ValueError(f"{self.steps} steps, batch {self.batch}, rate {self.learning_rate}: expected positive")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, expected a whole number from 0")


class RoundedConv(nn.Module):
    """A conv whose input and weight are rounded as INT8 rounds them; gradients pass straight through the rounding."""

    def __init__(self, conv: nn.Conv2d, scale: float) -> None:
        super().__init__()
        self.conv = conv
        self.register_buffer("scale", torch.tensor(scale))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.conv.weight
        scales = (weight.detach().abs().amax((1, 2, 3), keepdim=True) / LARGEST).clamp(min=SMALLEST_SCALE)
        x, weight = _rounded(x, self.get_buffer("scale")), _rounded(weight, scales)
        return F.conv2d(x, weight, self.conv.bias, self.conv.stride, self.conv.padding)


def _rounded(x: Tensor, scale: Tensor) -> Tensor:
    """A tensor on the grid of int8; a gradient of 1 inside its range and of 0 where it is clipped."""
    inside = (x / scale).clamp(-LARGEST, LARGEST)
    return (inside + (inside.round() - inside).detach()) * scale


def finetune(
    network: PoseNetwork,
    input_size: tuple[int, int],
    scales: Mapping[str, float],
    crops: NDArray[np.float32],
    *,
    tuning: Tuning,
    state: Path,
    watch: Callable[[int, float], None] = lambda _, __: None,
) -> PoseNetwork:
    """A copy of `network` (in eval mode) that drifts less in INT8.

    `scales` are the input scales of the convs to round, by their module's path in the "split" form; `crops`
    (N, 3, H, W) is what is learnt from, mirrored half of the time. A killed run goes on from `state`, which is removed
    at the end. RuntimeError for a loss that is NaN.
    """
    student = deploy(network, input_size, "split")
    for module in student.modules():
        if isinstance(module, LConv) and module.narrows:
            _keep_zero(module)
    for path, scale in scales.items():
        _replace(student, path, RoundedConv(_conv(student, path), scale))
    optimizer = torch.optim.Adam((p for p in student.parameters()), lr=tuning.learning_rate)
    identity = str((asdict(tuning), sorted(scales.items()), len(crops)))
    for step in range(_resume(state, identity, student, optimizer, tuning.steps), tuning.steps):
        rng = np.random.default_rng((tuning.seed, step))
        shown = crops[np.sort(rng.choice(len(crops), min(tuning.batch, len(crops)), replace=False))]
        batch = torch.from_numpy(shown[..., ::-1].copy() if rng.random() < 1 / 2 else shown)
        with torch.no_grad():
            wanted = network(batch)
        for group in optimizer.param_groups:
            group["lr"] = tuning.learning_rate * (1 + math.cos(math.pi * step / tuning.steps)) / 2
        loss = F.mse_loss(student(batch), wanted) / wanted.square().mean()
        found = loss.item()
        if not math.isfinite(found):
            raise RuntimeError(f"the loss is {found} at step {step}; take a smaller --lr")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        watch(step, found)
        if (step + 1) % SAVE_EVERY == 0:
            _save(state, identity, student, optimizer, step + 1)
    state.unlink(missing_ok=True)
    return _unfolded(network, student)


def _conv(network: nn.Module, path: str) -> nn.Conv2d:
    found = network.get_submodule(path)
    if not isinstance(found, nn.Conv2d):
        raise ValueError(f"{path} is a {type(found).__name__}, expected a convolution")
    return found


def _keep_zero(lconv: LConv) -> None:
    """The quarter's bias stands behind the partial conv; before it there is none, nor may there come one."""
    quarter, bias = lconv.partial.sections[0], lconv.pointwise.bias
    assert bias is not None
    bias.register_hook(lambda gradient: torch.cat((torch.zeros_like(gradient[:quarter]), gradient[quarter:])))


def _replace(network: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, module)


def _unfolded(network: PoseNetwork, student: nn.Module) -> PoseNetwork:
    """The student's weights in a copy of the network, whose norms take their parts of them back."""
    for path, module in list(student.named_modules()):
        if isinstance(module, RoundedConv):
            _replace(student, path, module.conv)
    tuned = copy.deepcopy(network)
    folded = {path for path, module in tuned.named_modules() if isinstance(module, ConvNorm)}
    for path in folded:
        module = tuned.get_submodule(path)
        assert isinstance(module, ConvNorm)
        _unfold(module, student.get_submodule(path))
    tuned.head.load_state_dict(student.get_submodule("head").state_dict())
    return tuned.eval()


@torch.no_grad()
def _unfold(module: ConvNorm, folded: nn.Module) -> None:
    norm = module.norm
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    scale = torch.where(scale.abs() < 1e-8, torch.full_like(scale, 1e-8), scale)  # a dead channel stays one
    if isinstance(module.conv, LConv):
        assert isinstance(folded, LConv)
        if module.conv.narrows:
            quarter = module.conv.partial.sections[0]
            module.conv.pointwise.weight[:quarter] = folded.pointwise.weight[:quarter]
            module.conv.pointwise.weight[quarter:] = folded.pointwise.weight[quarter:] / _column(scale[quarter:])
            module.conv.partial.conv.weight.copy_(folded.partial.conv.weight / _column(scale[:quarter]))
            assert folded.partial.conv.bias is not None
            assert folded.pointwise.bias is not None
            bias = torch.cat((folded.partial.conv.bias, folded.pointwise.bias[quarter:]))
        else:
            module.conv.partial.conv.weight.copy_(folded.partial.conv.weight)
            module.conv.pointwise.weight.copy_(folded.pointwise.weight / _column(scale))
            bias = folded.pointwise.bias
    else:
        assert isinstance(module.conv, nn.Conv2d)
        assert isinstance(folded, nn.Conv2d)
        module.conv.weight.copy_(folded.weight / _column(scale))
        bias = folded.bias
    assert bias is not None
    norm.bias.copy_(bias + norm.running_mean * scale)


def _column(scale: Tensor) -> Tensor:
    return scale[:, None, None, None]


def _resume(path: Path, identity: str, student: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> int:
    """The step to go on from; 0 where there is no state, ValueError where it is of another run."""
    if not path.is_file():
        return 0
    with naming_state(path):
        state = read_dict(path)
        require(state, ["identity"])
    if state["identity"] != identity:
        raise ValueError(f"{path} is of another fine-tuning; remove it, or go on as it began")
    with naming_state(path):
        require(state, ["student", "optimizer", "step"])
        step = parse(int, state["step"], "step")
        if not 0 <= step <= steps:
            raise ValueError(f"step is {step}, but there are {steps}")
        for key in ("student", "optimizer"):
            if not isinstance(state[key], dict):
                raise ValueError(f"{key} is a {type(state[key]).__name__}, expected tensors by name")
        check_tensors("student", state["student"], student.state_dict())
        check_moments(state["optimizer"], optimizer)
    student.load_state_dict(state["student"])
    settings = optimizer.state_dict()["param_groups"]  # its own; the identity says that they are the same
    optimizer.load_state_dict({"state": state["optimizer"]["state"], "param_groups": settings})
    return step


def _save(path: Path, identity: str, student: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    content = {
        "identity": identity,
        "student": student.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
    }
    with atomic_file(path) as unfinished:
        torch.save(content, unfinished)

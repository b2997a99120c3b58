"""Quantization-aware fine-tuning: a student with INT8 rounding is trained on the FP32 network's heatmaps.

The student has its BatchNorms folded, since INT8 rounds the folded weights. Afterwards they are unfolded again, so that
the result is an ordinary checkpoint, which is exported, calibrated and judged like any other.
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
    """Settings. The defaults take a few minutes on two cores at 128x96."""

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
    """A conv with fake quantization of input and weight to INT8, and straight-through gradients."""

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
    """Round a tensor to the int8 grid; the gradient is 1 inside the range and 0 where it is clipped."""
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
    """Fine-tune a copy of `network` (in eval mode) so that it drifts less in INT8.

    `scales` holds the input scale of each conv to quantize, keyed by its path in the "split" form. The network learns
    from `crops` (N, 3, H, W), mirrored half of the time. A killed run resumes from the file `state`, which is removed
    at the end. RuntimeError for a loss that is not finite.
    """
    student = _student(network, input_size, scales)
    optimizer = torch.optim.Adam(student.parameters(), lr=tuning.learning_rate)
    identity = str((asdict(tuning), sorted(scales.items()), len(crops)))
    for step in range(_resume(state, identity, student, optimizer, tuning.steps), tuning.steps):
        batch = _batch(crops, tuning, step)
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


def _student(network: PoseNetwork, input_size: tuple[int, int], scales: Mapping[str, float]) -> nn.Module:
    """The network with folded norms, and INT8 rounding in the convs of `scales`."""
    student = deploy(network, input_size, "split")
    for module in student.modules():
        if isinstance(module, LConv) and module.narrows:
            _freeze_zero_bias(module)
    for path, scale in scales.items():
        _replace(student, path, RoundedConv(_conv(student, path), scale))
    return student


def _batch(crops: NDArray[np.float32], tuning: Tuning, step: int) -> Tensor:
    """The crops of a step, chosen and mirrored by the seed and the step alone."""
    rng = np.random.default_rng((tuning.seed, step))
    chosen = crops[np.sort(rng.choice(len(crops), min(tuning.batch, len(crops)), replace=False))]
    return torch.from_numpy(chosen[..., ::-1].copy() if rng.random() < 1 / 2 else chosen)


def _conv(network: nn.Module, path: str) -> nn.Conv2d:
    found = network.get_submodule(path)
    if not isinstance(found, nn.Conv2d):
        raise ValueError(f"{path} is a {type(found).__name__}, expected a convolution")
    return found


def _freeze_zero_bias(lconv: LConv) -> None:
    """Keep the pointwise bias of the partial conv's quarter at zero: that quarter's bias follows the partial conv."""
    quarter, bias = lconv.partial.sections[0], lconv.pointwise.bias
    assert bias is not None
    bias.register_hook(lambda gradient: torch.cat((torch.zeros_like(gradient[:quarter]), gradient[quarter:])))


def _replace(network: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, module)


def _unfolded(network: PoseNetwork, student: nn.Module) -> PoseNetwork:
    """A copy of the network with the student's weights, its BatchNorms unfolded."""
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
    """Load a saved state and return the step to resume from; 0 without a state, ValueError for another run's."""
    if not path.is_file():
        return 0
    with naming_state(path):
        state = read_dict(path)
        require(state, ["identity"])
    if state["identity"] != identity:
        raise ValueError(f"{path} is the state of a fine-tuning with other settings; remove it, or use the same ones")
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
    settings = optimizer.state_dict()["param_groups"]  # not the file's: `identity` proves that they are equal
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

"""The saved state of a training, from which it is resumed. Like any file it is untrusted and checked on reading."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from ..model.weight_files import is_finite, read_content, unpickled, why_not_plain
from ..parsing import parse, parse_json, printable

MOMENTS = frozenset(("step", "exp_avg", "exp_avg_sq"))  # state of Adam and AdamW for a parameter


@dataclass(frozen=True)
class State:
    """State of a training after a step."""

    identity: Mapping[str, Any]
    """Description of the settings, which must be the same on resuming."""
    network: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    average: Mapping[str, Tensor]
    """Averaged weights; empty if the recipe does not average."""
    step: int
    elapsed_s: float
    best: float

    def check(self, network: nn.Module, optimizer: Optimizer, average: AveragedModel | None, steps: int) -> None:
        """Raise ValueError unless the state fits this training."""
        check_tensors("network", self.network, network.state_dict())
        check_tensors("average", self.average, average.state_dict() if average is not None else {})
        check_moments(self.optimizer, optimizer)
        if self.step > steps:
            raise ValueError(f"step is {self.step}, but the run has {steps}")


@contextmanager
def naming_state(path: Path) -> Iterator[None]:
    """Add the state file's name and the remedy to a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}; remove it and start again, or copy it whole") from error


def read_state(path: Path) -> State:
    """Read the state of a run; ValueError for an invalid file. Pickled code is not executed."""
    with naming_state(path):
        content = read_dict(path)
        require(content, [field.name for field in fields(State)])
        identity = content["identity"]
        if not isinstance(identity, str):
            raise ValueError(f"identity is a {type(identity).__name__}, expected a text")
        step = parse(int, content["step"], "step")
        elapsed_s, best = (parse(float, content[key], key) for key in ("elapsed_s", "best"))
        if step < 0 or elapsed_s < 0 or not -1 <= best <= 1:
            raise ValueError(f"step {step}, elapsed_s {elapsed_s}, best {best}: expected a place in a training")
        for key in ("network", "optimizer", "average"):
            if not isinstance(content[key], dict):
                raise ValueError(f"{key} is a {type(content[key]).__name__}, expected tensors by name")
        values = {
            **{key: content[key] for key in State.__dataclass_fields__},
            "identity": parse(Mapping[str, Any], parse_json(identity), "identity"),
        }
        return State(**{**values, "step": step, "elapsed_s": elapsed_s, "best": best})


def read_dict(path: Path) -> dict[str, Any]:
    """Read a dictionary written by torch.save without executing pickled code; ValueError for anything else."""
    found = unpickled(read_content(path, "state"))
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__}, expected a dictionary")
    return found


def require(content: Mapping[str, Any], keys: Sequence[str]) -> None:
    """Raise ValueError if one of `keys` is missing."""
    missing = [key for key in keys if key not in content]
    if missing:
        raise ValueError(f"{missing[0]} is missing")


def check_tensors(key: str, found: Mapping[str, Any], wanted: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless `found` has finite tensors of the same names, shapes and types as `wanted`."""
    missing, surplus = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    if missing or surplus:
        told = f"{min(missing)} is missing" if missing else f"{printable(str(next(iter(surplus))))[:100]} is surplus"
        raise ValueError(f"{key} is not of this network: {told}")
    for name, tensor in wanted.items():
        _check_tensor(f"{key}.{name}", found[name], tensor)


def check_moments(found: Mapping[str, Any], optimizer: Optimizer) -> None:
    """Raise ValueError unless an optimizer state fits the optimizer's parameters."""
    state = found.get("state")
    if not isinstance(state, dict):
        raise ValueError(f"optimizer.state is a {type(state).__name__}, expected tensors by parameter")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, moments in state.items():
        if not isinstance(index, int) or not 0 <= index < len(parameters):
            raise ValueError(f"optimizer.state is of {len(parameters)} parameters, but has one more")
        if not isinstance(moments, dict) or moments.keys() != MOMENTS:
            raise ValueError(f"optimizer.state[{index}] does not hold {', '.join(sorted(MOMENTS))}")
        for name, tensor in moments.items():
            wanted = parameters[index] if name != "step" else None
            _check_tensor(f"optimizer.state[{index}].{name}", tensor, wanted)
            if name != "exp_avg" and bool((tensor < 0).any()):
                raise ValueError(f"optimizer.state[{index}].{name} is below 0")


def _check_tensor(key: str, found: Any, wanted: Tensor | None) -> None:
    """Raise ValueError unless `found` is a finite tensor like `wanted`, or a scalar if `wanted` is None."""
    if not isinstance(found, Tensor):
        raise ValueError(f"{key} is a {type(found).__name__}, expected a tensor")
    shape = tuple(wanted.shape) if wanted is not None else ()
    if tuple(found.shape) != shape:
        raise ValueError(f"{key} has shape {tuple(found.shape)}, expected {shape}")
    if fault := why_not_plain(found):
        raise ValueError(f"{key} {fault}")
    if wanted is not None and found.dtype != wanted.dtype:
        raise ValueError(f"{key} is of {found.dtype}, expected {wanted.dtype}")
    if not is_finite(found):
        raise ValueError(f"{key} holds values that are not finite")

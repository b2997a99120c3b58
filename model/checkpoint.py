"""Checkpoints: weights as safetensors, with the network's config and its `PoseSpec` as metadata."""

import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..files import atomic_file
from ..parsing import parse, parse_json
from ..pose.spec import PoseSpec, spec_for
from .config import DEFAULT_VARIANT, NetworkConfig, variant
from .network import PoseNetwork

FORMAT = "lehrnet-checkpoint-1"
PICKLED_SUFFIXES = (".pt", ".pth", ".ckpt")
DEFAULT_WEIGHTS = Path(__file__).parent / "weights" / f"{DEFAULT_VARIANT}.safetensors"
"""The weights that come with the package; README.md beside them is their card."""


@dataclass(frozen=True)
class Checkpoint:
    """A network in eval mode and what its heatmaps mean."""

    network: PoseNetwork
    spec: PoseSpec
    note: str = ""
    """Where the weights come from, for a person to read."""

    def __post_init__(self) -> None:
        joints, expected = self.network.config.joints, len(self.spec.joints)
        if joints != expected:
            raise ValueError(f"the network has {joints} joints, but {self.spec.skeleton} has {expected}")


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, half: bool = False) -> None:
    """Write a .safetensors file; the file under `path` is replaced whole or not at all.

    `half` stores the kernels as float16, which halves the file; norms and biases stay float32.
    """
    metadata = {
        "format": FORMAT,
        "config": json.dumps(asdict(checkpoint.network.config)),
        "spec": json.dumps(asdict(checkpoint.spec)),
        "note": checkpoint.note,
    }
    tensors = {
        name: tensor.contiguous().half() if half and tensor.ndim > 1 else tensor.contiguous()
        for name, tensor in checkpoint.network.state_dict().items()
    }
    with atomic_file(path) as unfinished:
        save_file(tensors, unfinished, metadata)


def load_checkpoint(
    path: Path, *, network: str | None = None, joints: int | None = None, content: bytes | None = None
) -> Checkpoint:
    """Read a checkpoint of ours, or a plain PyTorch state dict of the variant named by `network`.

    `joints`, where given, must be the checkpoint's. Nothing pickled is ever executed. Raises FileNotFoundError,
    or ValueError with what is wrong: foreign or damaged files, missing, surplus or misshapen tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    loaded = _load_pickled(path, network) if path.suffix in PICKLED_SUFFIXES else _load_safetensors(path, network)
    found = loaded.network.config.joints
    if joints is not None and joints != found:
        raise ValueError(f"{path} has {found} joints, expected {joints}")
    return loaded


def _load_safetensors(path: Path, expected: str | None) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); copy or train it again") from error
    if metadata.get("format") != FORMAT:
        if expected is None:
            raise ValueError(f"{path} holds no lehrnet metadata; name its network with --network to load plain tensors")
        return _build(path, variant(expected, _joints(path, tensors)), None, tensors)
    try:
        config = parse(NetworkConfig, parse_json(metadata["config"]), "config")
        spec = parse(PoseSpec, parse_json(metadata["spec"]), "spec")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} has metadata that this version of lehrnet cannot read: {error}") from error
    if expected is not None and config != variant(expected, config.joints):
        raise ValueError(f"{path} does not hold a {expected}: its config is {config}")
    return _build(path, config, spec, tensors, metadata.get("note", ""))


def _load_pickled(path: Path, name: str | None) -> Checkpoint:
    if name is None:
        raise ValueError(f"{path} is a plain PyTorch file, which does not say its network; name it with --network")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{path} is not a state dict that can be read safely: {error}") from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path} does not hold a state dict (names to tensors)")
    tensors = {str(key).removeprefix("module."): value for key, value in content.items()}
    return _build(path, variant(name, _joints(path, tensors)), None, tensors)


def _joints(path: Path, tensors: Mapping[str, Tensor]) -> int:
    if "head.weight" not in tensors:
        raise ValueError(f"{path} has no tensor head.weight, so it is not a network of this family")
    return tensors["head.weight"].shape[0]


def _build(
    path: Path, config: NetworkConfig, spec: PoseSpec | None, tensors: Mapping[str, Tensor], note: str = ""
) -> Checkpoint:
    """The network of `config` with `tensors`, or a ValueError that names what does not fit."""
    network = PoseNetwork(config)
    wanted = network.state_dict()
    wrong = [f"missing {name}" for name in wanted.keys() - tensors.keys()]
    wrong += [f"surplus {name}" for name in tensors.keys() - wanted.keys()]
    wrong += [
        f"{name} has shape {tuple(tensors[name].shape)}, expected {tuple(wanted[name].shape)}"
        for name in wanted.keys() & tensors.keys()
        if tensors[name].shape != wanted[name].shape
    ]
    if wrong:
        shown = "; ".join(sorted(wrong)[:3])
        raise ValueError(f"{path} does not fit its network in {len(wrong)} tensors: {shown}")
    network.load_state_dict({name: tensor.to(wanted[name].dtype) for name, tensor in tensors.items()})
    return Checkpoint(network.eval(), spec or spec_for(config.joints), note)

"""Checkpoints: weights as safetensors, with the network's config and its `PoseSpec` as metadata."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..files import atomic_file
from ..parsing import LONGEST_TEXT, naming, parse, parse_json, printable
from ..pose.heatmap import HEATMAP_STRIDE, DecodeMethod, Frame
from ..pose.skeleton import Skeleton
from ..pose.spec import PoseSpec, spec_for
from .config import DEFAULT_VARIANT, NetworkConfig, variant
from .foreign import state_dict_of, without_prefixes
from .hrnet_names import MMPOSE_STEM, OFFICIAL_HEAD, hrnet_config, is_hrnet, our_names, seems_to_be
from .network import PoseNetwork
from .weight_files import FLOATS, is_finite, is_pickled, read_content, read_safetensors, unpickled, why_not_plain

log = logging.getLogger(__name__)

FORMAT = "lehrnet-checkpoint-1"
DEFAULT_WEIGHTS = Path(__file__).parent / "weights" / f"{DEFAULT_VARIANT}.safetensors"
"""The weights that come with the package; README.md beside them is their card."""
ASSUMED_SIZE = "the input size was not in the file"
"""In the note of a checkpoint whose input size nobody named."""
HEAD = "head.weight"
COUNTS = ".num_batches_tracked"


@dataclass(frozen=True)
class Checkpoint:
    """A network in eval mode and what its heatmaps mean."""

    network: PoseNetwork
    spec: PoseSpec
    note: str = ""
    """Where the weights come from, for a person to read."""
    trained: bool = True
    """False: the weights are random, and keypoints mean nothing."""

    def __post_init__(self) -> None:
        joints, expected = self.network.config.joints, len(self.spec.skeleton)
        if joints != expected:
            raise ValueError(f"the network has {joints} joints, but {self.spec.skeleton.name} has {expected}")
        if self.spec.stride != HEATMAP_STRIDE:
            raise ValueError(
                f"the spec has a stride of {self.spec.stride}, but networks of this family {HEATMAP_STRIDE}"
            )


@dataclass(frozen=True)
class _Stored:
    """What a file of weights holds. A plain state dict says neither its config nor its spec."""

    tensors: Mapping[str, Tensor]
    config: NetworkConfig | None = None
    spec: PoseSpec | None = None
    note: str = ""
    trained: bool = True
    read_from: str = ""
    """Whose names the tensors had, where they were read as another program's network."""


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, half: bool = False) -> None:
    """Write a .safetensors file; the file under `path` is replaced whole or not at all.

    `half` stores the kernels as float16, which halves the file; norms and biases stay float32.
    """
    metadata = {
        "format": FORMAT,
        "config": json.dumps(asdict(checkpoint.network.config)),
        "spec": json.dumps(checkpoint.spec.facts()),
        "note": checkpoint.note,
        "trained": json.dumps(checkpoint.trained),
    }
    tensors = {
        name: tensor.contiguous().half() if half and tensor.ndim > 1 else tensor.contiguous()
        for name, tensor in checkpoint.network.state_dict().items()
    }
    size = sum(tensor.nbytes for tensor in tensors.values())
    with atomic_file(path, size) as unfinished:
        save_file(tensors, unfinished, metadata)


def load_checkpoint(
    path: Path,
    *,
    network: str | None = None,
    joints: int | None = None,
    content: bytes | None = None,
    size: tuple[int, int] | None = None,
    decode: DecodeMethod | None = None,
    frame: Frame | None = None,
    skeleton: Skeleton | None = None,
) -> Checkpoint:
    """Read a checkpoint of ours, of HRNet's official code or of MMPose, or a plain state dict of the variant `network`.

    `content` is the file's, where it was read already. A plain state dict knows neither the input size (height,
    width) that it was trained at nor how its heatmaps are decoded nor its frame nor its joints: `size`, `decode`,
    `frame` and `skeleton` say so, else the usual ones are assumed, which is logged and noted. Official and MMPose's
    networks are recognized by their tensors' names, width and depth are read from them, and their frame is HRNet's.
    `joints` and `network`, and for a checkpoint of ours also `size`, `decode`, `frame` and `skeleton`, must be the
    checkpoint's where they are given.

    Nothing pickled is ever executed. Raises FileNotFoundError, or ValueError with what is wrong: foreign or damaged
    files, missing, surplus or misshapen tensors, values that are not finite.
    """
    stored = _read(path, read_content(path, "checkpoint") if content is None else content)
    if stored.config is None or stored.spec is None:
        stored = _described(path, stored, network=network, size=size, decode=decode, frame=frame, skeleton=skeleton)
    else:
        told = {"network": network, "size": size, "decode": decode, "frame": frame, "skeleton": skeleton}
        _check_same(path, stored.config, stored.spec, **told)
    assert stored.config is not None
    assert stored.spec is not None
    if joints is not None and joints != stored.config.joints:
        raise ValueError(f"{path} has {stored.config.joints} joints, expected {joints}")
    built = _built(path, stored.config, stored.tensors).eval()
    return Checkpoint(built, stored.spec, stored.note, stored.trained)


def describes_itself(path: Path, content: bytes) -> bool:
    """Whether a file says which network it holds, as checkpoints of ours do."""
    return _read(path, content).config is not None


def _read(path: Path, content: bytes) -> _Stored:
    """The tensors of a file, and what it says about them; which kind of file it is, its first bytes say."""
    if is_pickled(content):
        try:
            return _plain(state_dict_of(unpickled(content)))
        except ValueError as error:
            raise ValueError(f"{path} is not a state dict that can be read safely: {error}") from error
    try:
        metadata, tensors = read_safetensors(content)
    except ValueError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); copy or train it again") from error
    if metadata.get("format") != FORMAT:
        return _plain(tensors)
    try:
        config = parse(NetworkConfig, _json(metadata, "config"), "config")
        spec = PoseSpec.read(_json(metadata, "spec"))
        note = printable(metadata.get("note", ""))
        if len(note) > LONGEST_TEXT:
            raise ValueError(f"note has {len(note)} characters, expected at most {LONGEST_TEXT}")
        if config.joints != len(spec.skeleton):
            raise ValueError(f"config.joints is {config.joints}, but {spec.skeleton.name} has {len(spec.skeleton)}")
        trained = parse(bool, parse_json(metadata.get("trained", "true")), "trained")
    except ValueError as error:
        raise ValueError(f"{path} has metadata that this version of lehrnet cannot read: {error}") from error
    return _Stored(tensors, config, spec, note, trained)


def _plain(tensors: Mapping[str, Tensor]) -> _Stored:
    """A state dict by our names: ours, HRNet's or MMPose's, whatever wrapped it."""
    tensors = without_prefixes(tensors, (HEAD, OFFICIAL_HEAD, MMPOSE_STEM))
    if not is_hrnet(tensors):
        return _Stored(tensors)
    return _Stored(our_names(tensors), read_from="MMPose" if MMPOSE_STEM in tensors else "HRNet's official code")


def _json(metadata: Mapping[str, str], key: str) -> Any:
    if key not in metadata:
        raise ValueError(f"{key} is missing")
    try:
        return parse_json(metadata[key])
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


def _described(
    path: Path,
    stored: _Stored,
    *,
    network: str | None,
    size: tuple[int, int] | None,
    decode: DecodeMethod | None,
    frame: Frame | None,
    skeleton: Skeleton | None,
) -> _Stored:
    """A plain state dict with the config and the spec that the caller names, and a note of what was assumed."""
    if stored.read_from:
        config = _config_of_hrnet(path, stored, network)
        frame = frame or "hrnet"
    else:
        config = _config_named(path, stored, network)
    with naming(path):
        spec = spec_for(config.joints, skeleton)
    spec = replace(spec, input_size=size or spec.input_size, decode=decode or spec.decode, frame=frame or spec.frame)
    kind = f"a network of {stored.read_from}" if stored.read_from else "a plain state dict"
    note = f"{kind}, {printable(path.name)}"
    if size is None:
        height, width = spec.input_size
        assumed = f"{ASSUMED_SIZE}: {height}x{width} was assumed (set --size)"
        log.warning("%s: %s; at another size than it was trained at a network finds next to nothing", path, assumed)
        note = f"{note}; {assumed}"
    assumed = "ImageNet's normalization" if decode else f"{spec.decode!r} decoding and ImageNet's normalization"
    return replace(stored, config=config, spec=spec, note=f"{note}; frame {spec.frame!r}, {assumed} assumed")


def _config_of_hrnet(path: Path, stored: _Stored, network: str | None) -> NetworkConfig:
    """The network whose width and depth the tensors tell; ValueError where the caller names another."""
    try:
        config = hrnet_config(stored.tensors)
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(f"{path} has the names of {stored.read_from}, but is no whole HRNet: {error}") from error
    if network is not None and config != variant(network, config.joints):
        raise ValueError(f"{path} does not hold a {network}, but an HRNet of width {config.width}; leave --network out")
    log.warning("%s: HRNet of width %d by the names of %s", path, config.width, stored.read_from)
    return config


def _config_named(path: Path, stored: _Stored, network: str | None) -> NetworkConfig:
    """The network that the caller names for a plain state dict of ours."""
    other = seems_to_be(stored.tensors)
    if other and HEAD not in stored.tensors:
        raise ValueError(
            f"{path} seems to hold {other}, which lehrnet has no network for: it reads its own and HRNet's"
        )
    if network is None:
        raise ValueError(f"{path} holds no lehrnet metadata; name its network with --network, and its size with --size")
    if HEAD not in stored.tensors or not stored.tensors[HEAD].ndim:
        raise ValueError(f"{path} has no tensor {HEAD}, so it is not a network of this family")
    with naming(path):
        return variant(network, stored.tensors[HEAD].shape[0])


def _check_same(
    path: Path,
    config: NetworkConfig,
    spec: PoseSpec,
    *,
    network: str | None,
    size: tuple[int, int] | None,
    decode: DecodeMethod | None,
    frame: Frame | None,
    skeleton: Skeleton | None,
) -> None:
    """Raise ValueError where the caller names something else than the checkpoint says of itself."""
    if network is not None and config != variant(network, config.joints):
        raise ValueError(f"{path} does not hold a {network}: its config is {config}")
    if size is not None and size != spec.input_size:
        told = "{}x{} was asked for, but {} says that it was trained at {}x{}; leave --size out"
        raise ValueError(told.format(*size, path, *spec.input_size))
    if decode is not None and decode != spec.decode:
        raise ValueError(f"{decode!r} was asked for, but {path} is decoded by {spec.decode!r}; leave --decode out")
    if frame is not None and frame != spec.frame:
        raise ValueError(f"frame {frame!r} was asked for, but {path} has {spec.frame!r}; leave --frame out")
    if skeleton is not None and skeleton != spec.skeleton:
        own = spec.skeleton
        raise ValueError(
            f"{skeleton.name} was asked for, but {path} has its own skeleton {own.name}; leave --skeleton out"
        )


def _built(path: Path, config: NetworkConfig, tensors: Mapping[str, Tensor]) -> PoseNetwork:
    """The network of `config` with `tensors`, or a ValueError that names what does not fit.

    No memory is taken for weights before the file is known to hold them.
    """
    if len(tensors) < config.residual_units:
        raise ValueError(f"{path} has {len(tensors)} tensors, too few for its network: {config}")
    with torch.device("meta"), _NoValues():
        network = PoseNetwork(config)
    wanted = network.state_dict()
    tensors = dict(tensors)
    for name in wanted.keys() - tensors.keys():
        if name.endswith(COUNTS):  # older PyTorch did not count, and only momentum=None needs it
            tensors[name] = torch.zeros((), dtype=torch.int64)
    wrong = [f"missing {name}" for name in wanted.keys() - tensors.keys()]
    wrong += [f"surplus {printable(name)}" for name in tensors.keys() - wanted.keys()]
    wrong += [
        f"{name} has shape {tuple(tensors[name].shape)}, expected {tuple(wanted[name].shape)}"
        for name in wanted.keys() & tensors.keys()
        if tensors[name].shape != wanted[name].shape
    ]
    if wrong:
        shown = "; ".join(sorted(wrong)[:3])
        raise ValueError(f"{path} does not fit its network in {len(wrong)} tensors: {shown}")
    network.load_state_dict({name: _weight(path, name, tensors[name], wanted[name]) for name in wanted}, assign=True)
    return network


def _weight(path: Path, name: str, tensor: Tensor, wanted: Tensor) -> Tensor:
    """A copy of a stored tensor in the type that the network holds it in."""
    fault = why_not_plain(tensor)
    if not fault and tensor.dtype not in FLOATS and wanted.is_floating_point():
        fault = f"is of {tensor.dtype}, expected float32, float16 or bfloat16"
    copied = tensor if fault else torch.empty(wanted.shape, dtype=wanted.dtype).copy_(tensor)
    if not fault and not is_finite(tensor):
        fault = "holds values that are not finite"
    if not fault and name.endswith(".running_var") and copied.numpy().min() < 0:
        fault = "holds a variance below 0"
    if fault:
        raise ValueError(f"{path}: {name} {fault}; train or convert it again")
    return copied


class _NoValues(TorchFunctionMode):
    """Modules made under it draw no first weights: they come from a file."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)

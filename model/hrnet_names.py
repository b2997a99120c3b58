"""HRNet as other programs save it: the official code's names for tensors, and MMPose's, turned into ours.

The official code is leoxiaobin/deep-high-resolution-net.pytorch; MMPose keeps its names behind `backbone.` and calls
the last conv `keypoint_head.final_layer` (0.x) or `head.final_layer` (1.x).
"""

import re
from collections.abc import Callable, Mapping
from itertools import count

from torch import Tensor

from .config import NetworkConfig

OFFICIAL_HEAD = "final_layer.weight"
MMPOSE_STEM = "backbone.conv1.weight"
_MMPOSE = (("keypoint_head.final_layer.", "final_layer."), ("head.final_layer.", "final_layer."), ("backbone.", ""))
_BESIDE = ("data_preprocessor.", "backbone.incre_modules.", "backbone.downsamp_modules.")
"""What MMPose keeps beside the network: constants, and parts of a classifier."""
_CONVS = {"1": "first", "2": "second"}
_BOTTLENECK = {"1": "reduce", "2": "spatial", "3": "expand"}
_PARTS = {"conv": "conv", "bn": "norm", "0": "conv", "1": "norm"}

# The official name of a tensor, and how ours is made of its parts.
_RULES: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"(conv|bn)([12])\.", lambda m: f"stem.{_CONVS[m[2]]}.{_PARTS[m[1]]}."),
    (r"layer1\.(\d+)\.(conv|bn)([123])\.", lambda m: f"stage1.{m[1]}.{_BOTTLENECK[m[3]]}.{_PARTS[m[2]]}."),
    (r"layer1\.(\d+)\.downsample\.([01])\.", lambda m: f"stage1.{m[1]}.shortcut.{_PARTS[m[2]]}."),
    (r"transition1\.0\.([01])\.", lambda m: f"transition1.finest.0.{_PARTS[m[1]]}."),
    (r"transition([123])\.\1\.0\.([01])\.", lambda m: f"transition{m[1]}.opened.0.{_PARTS[m[2]]}."),
    (
        r"stage([234])\.(\d+)\.branches\.(\d)\.(\d+)\.(conv|bn)([12])\.",
        lambda m: f"stage{m[1]}.exchanges.{m[2]}.branches.{m[3]}.{m[4]}.{_CONVS[m[6]]}.{_PARTS[m[5]]}.",
    ),
    (  # from a coarser branch: one conv
        r"stage([234])\.(\d+)\.fuse_layers\.(\d)\.(\d)\.([01])\.(?=\D)",
        lambda m: f"stage{m[1]}.exchanges.{m[2]}.paths.{m[3]}.{m[4]}.0.{_PARTS[m[5]]}.",
    ),
    (  # from a finer one: a conv for each halving, with ReLUs between
        r"stage([234])\.(\d+)\.fuse_layers\.(\d)\.(\d)\.(\d)\.([01])\.",
        lambda m: f"stage{m[1]}.exchanges.{m[2]}.paths.{m[3]}.{m[4]}.{2 * int(m[5])}.{_PARTS[m[6]]}.",
    ),
    (r"final_layer\.", lambda _: "head."),
)


def is_hrnet(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are tensors of HRNet's body under the official names or MMPose's, its heatmaps' conv among them."""
    names = {_without_mmpose(name) for name in tensors}
    return {"conv1.weight", "stage4.0.branches.3.0.conv1.weight", OFFICIAL_HEAD} <= names


def our_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by our names. One whose name is not HRNet's keeps it, and `load_checkpoint` calls it surplus."""
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(_BESIDE)}
    return {_our_name(_without_mmpose(name)): tensor for name, tensor in kept.items()}


def hrnet_config(tensors: Mapping[str, Tensor]) -> NetworkConfig:
    """The network whose tensors these are, by our names: its width, joints and depth, read from shapes and names.

    ValueError for a width that is no HRNet's.
    """

    def how_many(name: str) -> int:
        return next(number for number in count() if f"{name.format(number)}.conv.weight" not in tensors)

    stages = (f"stage{stage}.exchanges.{{}}.branches.0.0.first" for stage in (2, 3, 4))
    modules = tuple(how_many(name) for name in stages)
    width = tensors["transition1.finest.0.conv.weight"].shape[0]
    return NetworkConfig(
        joints=tensors["head.weight"].shape[0],
        width=width,
        units=how_many("stage2.exchanges.0.branches.0.{}.first"),
        modules=(modules[0], modules[1], modules[2]),
        light_units=False,
        light_convs=False,
        attention=False,
    )


def _without_mmpose(name: str) -> str:
    for prefix, replaced in _MMPOSE:
        if name.startswith(prefix):
            return replaced + name.removeprefix(prefix)
    return name


def _our_name(name: str) -> str:
    for pattern, ours in _RULES:
        found = re.match(pattern, name)
        if found:
            return ours(found) + name[found.end() :]
    return name


_BODIES = (
    ("RTMPose", ("backbone.stem.0.conv.weight", "head.gau")),
    ("ViTPose", ("backbone.patch_embed.", "backbone.layers.0.attn.", "backbone.blocks.0.attn.")),
    ("Lite-HRNet", ("backbone.stem.branch1.", "backbone.stage0.0.layers.0.cross_resolution_weighting.")),
    ("a SimpleBaseline", ("deconv_layers.", "keypoint_head.deconv_layers.", "head.deconv_layers.")),
    ("a classifier of HRNet's body", ("incre_modules.", "classifier.weight")),
    ("a YOLO network", ("model.0.conv.weight", "model.22.")),
)


def seems_to_be(tensors: Mapping[str, Tensor]) -> str:
    """The name of another kind of network whose tensors these are; empty where it is not known."""
    return next(
        (body for body, marks in _BODIES if any(name.startswith(mark) for name in tensors for mark in marks)), ""
    )

"""Classification of layers by the path of their module: stage, branch and kind of block."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

BRANCH = re.compile(r"(stage\d)\.exchanges\.\d+\.branches\.(\d)")
STAGE = re.compile(r"(stem|stage\d|transition\d|head)\b")
View = Literal["stage", "branch", "kind"]
VIEWS: tuple[View, ...] = get_args(View)
LAYOUT = "layout"
"""Layout changes that a runtime inserts."""


@dataclass(frozen=True)
class Place:
    """Place of a layer in the network."""

    stage: str
    branch: str
    """Such as "stage3 branch 2", with 0 as the finest; the stage outside the branches."""
    kind: str
    """ "LConv", "EMA", "fusion", ..."""


def place_of(path: str, *, light: bool = True) -> Place:
    """The place of a module ("stage2.exchanges.0...") or of an exported graph's node ("/stage2/exchanges.0...").

    `light` says whether the residual units hold LConvs or plain 3x3 convs.
    """
    path = path.strip("/").replace("/", ".")
    stage = STAGE.match(path)
    if stage is None:
        return Place(LAYOUT, LAYOUT, LAYOUT)
    name = stage[1]
    branch = BRANCH.match(path)
    if branch is not None:
        return Place(name, f"{name} branch {branch[2]}", _kind(path, light))
    if ".exchanges." in path:
        return Place(name, name, "fusion")
    return Place(name, name, "Bottleneck" if name == "stage1" else name.rstrip("0123456789"))


def branch_of(path: str) -> int:
    """Branch index of a module's path, with 0 as the finest; -1 outside the branches."""
    found = BRANCH.match(path)
    return -1 if found is None else int(found[2])


def _kind(path: str, light: bool) -> str:
    if ".attention." in f"{path}.":
        return "EMA"
    if re.search(r"\.(pair|first|second)\b", path):
        return "LConv" if light else "3x3 conv"
    return "residual"

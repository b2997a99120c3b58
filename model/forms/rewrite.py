"""Replacing modules of a network by others."""

import copy
from collections.abc import Callable
from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def rewrite(network: Network, change: Callable[[str, nn.Module], nn.Module]) -> Network:
    """A copy in which `change(path, module)` replaced inner modules; one that it returns as it came is entered."""
    return _rewrite_children(copy.deepcopy(network), change, "")


def _rewrite_children(parent: Network, change: Callable[[str, nn.Module], nn.Module], prefix: str) -> Network:
    for name, child in parent.named_children():
        path = prefix + name
        changed = change(path, child)
        setattr(parent, name, changed if changed is not child else _rewrite_children(child, change, f"{path}."))
    return parent

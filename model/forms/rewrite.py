"""Replacement of modules in a network."""

import copy
from collections.abc import Callable
from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def rewrite(network: Network, change: Callable[[str, nn.Module], nn.Module]) -> Network:
    """A copy with inner modules replaced by `change(path, module)`; it recurses into modules returned unchanged."""
    return _rewrite_children(copy.deepcopy(network), change, "")


def _rewrite_children(parent: Network, change: Callable[[str, nn.Module], nn.Module], prefix: str) -> Network:
    for name, child in parent.named_children():
        path = prefix + name
        changed = change(path, child)
        setattr(parent, name, changed if changed is not child else _rewrite_children(child, change, f"{path}."))
    return parent

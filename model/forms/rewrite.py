"""Replacing modules of a network by others."""

import copy
from collections.abc import Callable
from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def rewrite(network: Network, change: Callable[[nn.Module], nn.Module]) -> Network:
    """A copy of `network` in which `change` replaced every inner module; a module it returns as it came is entered."""
    return _rewrite_children(copy.deepcopy(network), change)


def _rewrite_children(parent: Network, change: Callable[[nn.Module], nn.Module]) -> Network:
    for name, child in parent.named_children():
        changed = change(child)
        setattr(parent, name, changed if changed is not child else _rewrite_children(child, change))
    return parent

"""Exact rewrites of a trained network for inference: other operators, the same numbers."""

from .attention import FrozenEMA, freeze_attention, group_weights
from .deploy import LConvForm, deploy
from .lconv import LeanPair, SummedLConv, dense_lconv
from .norms import fold_norms
from .published import PublishedEMA, as_published

__all__ = [
    "FrozenEMA",
    "LConvForm",
    "LeanPair",
    "PublishedEMA",
    "SummedLConv",
    "as_published",
    "dense_lconv",
    "deploy",
    "fold_norms",
    "freeze_attention",
    "group_weights",
]

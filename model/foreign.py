"""State dicts as other programs save them: under a key of a larger file, with prefixes of what wrapped the network."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

log = logging.getLogger(__name__)

# Where a file holds several, the first of these is taken: a training's own weights before their moving average.
KEYS = (
    *("state_dict", "model_state_dict", "model", "network", "net", "module", "weights", "params"),
    *("ema_state_dict", "state_dict_ema", "model_ema", "ema"),
)
DEEPEST = 4
AVERAGES = "n_averaged"  # torch.optim.swa_utils.AveragedModel counts in it


def state_dict_of(content: Any) -> dict[str, Tensor]:
    """The tensors of a file by their names; ValueError where it holds none.

    What stands beside the tensors (an epoch, an optimizer) is left out.
    """
    path = ""
    for _ in range(DEEPEST):
        keys = [key for key in KEYS if isinstance(content, Mapping) and isinstance(content.get(key), Mapping)]
        if not keys:
            break
        path, content = f"{path}[{keys[0]!r}]", content[keys[0]]
        beside = f"; {', '.join(map(repr, keys[1:]))} beside it was not" if len(keys) > 1 else ""
        log.warning("the weights under %s were taken%s", path, beside)
    if not isinstance(content, Mapping):
        raise ValueError(f"it holds a {type(content).__name__}, not a state dict (names to tensors)")
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f"it does not hold a state dict (names to tensors), nor one under {', '.join(KEYS)}")
    return tensors


def without_prefixes(tensors: Mapping[str, Tensor], known: Sequence[str]) -> dict[str, Tensor]:
    """The tensors without what stands before every name, until one of them has a name that is `known`.

    DataParallel puts `module.` there, torch.compile `_orig_mod.`, Lightning the name of an attribute: `model.`, `net.`.
    """
    tensors = dict(tensors)
    if tensors.keys().isdisjoint(known):
        tensors.pop(AVERAGES, None)
    while tensors and tensors.keys().isdisjoint(known):
        prefixes = {name.partition(".")[0] for name in tensors}
        if len(prefixes) > 1 or not all("." in name for name in tensors):
            break
        tensors = {name.partition(".")[2]: tensor for name, tensor in tensors.items()}
    return tensors

"""Which device torch works on."""

import torch


def choose_device(name: str = "auto") -> torch.device:
    """The device of "cpu", "cuda" or "cuda:N"; "auto" is a GPU where PyTorch sees one, else the CPU.

    Raises ValueError for another name, and RuntimeError for a GPU that is not there.
    """
    gpus = torch.cuda.device_count()
    if name == "auto":
        name = "cuda" if gpus else "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not (kind == "cuda" and index.isdecimal())):
        raise ValueError(f"device is {name!r}, expected cpu, cuda, cuda:N or auto")
    if kind == "cpu":
        return torch.device("cpu")
    if int(index or 0) >= gpus:
        raise RuntimeError(f"device is {name}, but PyTorch sees {gpus} GPUs; use cpu")
    return torch.device("cuda", int(index or 0))

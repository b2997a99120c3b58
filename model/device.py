"""Which device torch works on."""

import torch

from ..parsing import device_index


def choose_device(name: str = "auto") -> torch.device:
    """The device of "cpu", "cuda" or "cuda:N"; "auto" is a GPU where PyTorch sees one, else the CPU.

    Raises ValueError for another name, and RuntimeError for a GPU that is not there.
    """
    gpus = torch.cuda.device_count()
    if name == "auto":
        name = "cuda" if gpus else "cpu"
    gpu = device_index(name)
    if gpu is None:
        return torch.device("cpu")
    if gpu >= gpus:
        raise RuntimeError(f"device is {name}, but PyTorch sees {gpus} GPUs; use cpu")
    return torch.device("cuda", gpu)

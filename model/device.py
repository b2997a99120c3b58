"""Selection of the torch device."""

import torch

from ..parsing import device_index


def choose_device(name: str = "auto") -> torch.device:
    """The torch device for "cpu", "cuda", "cuda:N" or "auto" (a GPU if PyTorch finds one, else the CPU).

    ValueError for another name; RuntimeError if the GPU does not exist.
    """
    gpus = torch.cuda.device_count()
    if name == "auto":
        name = "cuda" if gpus else "cpu"
    gpu = device_index(name)
    if gpu is None:
        return torch.device("cpu")
    if gpu >= gpus:
        raise RuntimeError(f"device is {name}, but PyTorch finds {gpus} GPUs; use cpu")
    return torch.device("cuda", gpu)

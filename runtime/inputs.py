"""What every session accepts: threads, and the shape of crops."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUCKETS = (1, 2, 4, 8, 16, 32, 64)
"""Crops at once for which a GPU's graphs and profiles are made: a batch takes the smallest that holds it."""
DLPACK_CUDA, DLPACK_MANAGED = 2, 13
"""DLPack's types of devices."""


def check_threads(threads: int | None) -> None:
    """Raise ValueError unless so many threads are at least one and at most the machine's."""
    most = os.cpu_count() or 1
    if threads is not None and not 1 <= threads <= most:
        raise ValueError(f"threads is {threads}, expected 1 to {most}, which this machine has")


def check_crops(crops: NDArray[np.float32], input_size: tuple[int, int] | None = None) -> None:
    """Raise ValueError unless crops are (N, 3, H, W) of float32, of `input_size` where it is known."""
    wanted = input_size or crops.shape[2:]
    if crops.ndim != 4 or crops.shape[1] != 3 or crops.shape[2:] != wanted or crops.dtype != np.float32:
        height, width = input_size or ("H", "W")
        raise ValueError(
            f"crops have shape {crops.shape} and type {crops.dtype}, expected (N, 3, {height}, {width}) of float32"
        )


def check_open(what: object) -> None:
    """Raise ValueError where None stands for a session that was closed."""
    if what is None:
        raise ValueError("the session is closed")


def is_on_gpu(image: Any) -> bool:
    """Whether an image is an array in a GPU's memory: by `__cuda_array_interface__`, or by DLPack's word."""
    if hasattr(image, "__cuda_array_interface__"):
        return True
    kind = image.__dlpack_device__()[0] if hasattr(image, "__dlpack_device__") else None
    return kind is not None and int(kind) in (DLPACK_CUDA, DLPACK_MANAGED)

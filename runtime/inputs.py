"""Input checks that all sessions share: threads, crops, GPU arrays."""

import os
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
BUCKETS = (1, 2, 4, 8, 16, 32, 64)
"""Batch sizes of CUDA graphs and optimization profiles; a batch runs in the smallest bucket that holds it."""
LARGEST_BATCH = 32
"""People whose crops are in a CPU's memory at once (19 MB of input at 256x192); more run in turns."""
DLPACK_CUDA, DLPACK_MANAGED = 2, 13
"""Device types of DLPack."""


def check_threads(threads: int | None) -> None:
    """Raise ValueError unless `threads` is None or from 1 to the machine's number of CPUs."""
    most = os.cpu_count() or 1
    if threads is not None and not 1 <= threads <= most:
        raise ValueError(f"threads is {threads}, expected 1 to {most}, which this machine has")


def check_crops(crops: NDArray[np.float32], input_size: tuple[int, int] | None = None) -> None:
    """Raise ValueError unless crops are (N, 3, H, W) of float32; `input_size` (H, W) is checked if given."""
    wanted = input_size or crops.shape[2:]
    if crops.ndim != 4 or crops.shape[1] != 3 or crops.shape[2:] != wanted or crops.dtype != np.float32:
        height, width = input_size or ("H", "W")
        raise ValueError(
            f"crops have shape {crops.shape} and type {crops.dtype}, expected (N, 3, {height}, {width}) of float32"
        )


def opened(resource: T | None) -> T:
    """The resource of a session; ValueError if it is None, which stands for a closed session."""
    if resource is None:
        raise ValueError("the session is closed")
    return resource


def is_on_gpu(image: Any) -> bool:
    """Whether an image is an array in GPU memory, by `__cuda_array_interface__` or DLPack."""
    if hasattr(image, "__cuda_array_interface__"):
        return True
    kind = image.__dlpack_device__()[0] if hasattr(image, "__dlpack_device__") else None
    return kind is not None and int(kind) in (DLPACK_CUDA, DLPACK_MANAGED)

"""Stored crops on the device: decoded once if they fit into memory, else decoded for each step, one step ahead."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .pack import Pack

Rows = NDArray[np.integer]
DECODE_BATCH = 256


class StoredCrops(Protocol):
    """Source of stored crops on the device."""

    def take(self, rows: Rows, following: Rows | None = None) -> Tensor:
        """RGB crops (n, H, W, 3) of uint8 of `rows`; `following`, if known, are the rows of the next call."""
        ...


class Decoded:
    """All crops decoded in device memory; only indices are transferred afterwards."""

    def __init__(self, pack: Pack, device: torch.device, threads: ThreadPoolExecutor) -> None:
        self._crops = torch.empty((len(pack), *pack.size, 3), dtype=torch.uint8, device=device)
        for start in range(0, len(pack), DECODE_BATCH):
            rows = np.arange(start, min(start + DECODE_BATCH, len(pack)))
            self._crops[start : start + len(rows)] = torch.from_numpy(pack.decode(rows, threads)).to(device)

    def take(self, rows: Rows, following: Rows | None = None) -> Tensor:  # noqa: ARG002 - nothing is left to prepare
        return self._crops[torch.from_numpy(rows).to(self._crops.device)]


class Encoded:
    """All crops as JPEG in host memory; the next step's crops are decoded during the current step."""

    def __init__(self, pack: Pack, device: torch.device, threads: ThreadPoolExecutor) -> None:
        self._pack, self._device, self._threads = pack, device, threads
        self._prefetcher = ThreadPoolExecutor(1)  # waits for `threads`, so it must not be one of them
        self._ahead: tuple[bytes, Future[NDArray[np.uint8]]] | None = None

    def take(self, rows: Rows, following: Rows | None = None) -> Tensor:
        ahead, self._ahead = self._ahead, None
        ready = ahead is not None and ahead[0] == rows.tobytes()
        crops = ahead[1].result() if ahead and ready else self._pack.decode(rows, self._threads)
        if following is not None:
            self._ahead = following.tobytes(), self._prefetcher.submit(self._pack.decode, following, self._threads)
        return torch.from_numpy(crops).to(self._device, non_blocking=True)


def store(pack: Pack, device: torch.device, room: int | None = None) -> StoredCrops:
    """Stored crops of a pack, decoded if they take at most `room` bytes: by default half of free memory."""
    threads = ThreadPoolExecutor()
    needed = len(pack) * int(np.prod(pack.size)) * 3
    kind = Decoded if needed <= (free_bytes(device) // 2 if room is None else room) else Encoded
    return kind(pack, device, threads)


def free_bytes(device: torch.device) -> int:
    """Free memory of the device in bytes; of the host for the CPU."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo", encoding="ascii") as facts:  # noqa: PTH123 - a pseudo-file
            return next(int(line.split()[1]) << 10 for line in facts if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 4 << 30  # not Linux: assume room for a small data set

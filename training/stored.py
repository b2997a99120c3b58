"""Stored crops on their way to the device: decoded once where they fit, else decoded for each step ahead of it."""

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
    """RGB crops (n, H, W, 3) of uint8 on the device."""

    def take(self, rows: Rows, following: Rows | None = None) -> Tensor:
        """Those of `rows`; `following` are the ones asked for next, where that is known."""
        ...


class Decoded:
    """Everyone decoded on the device: nothing but indices crosses to it afterwards."""

    def __init__(self, pack: Pack, device: torch.device, threads: ThreadPoolExecutor) -> None:
        self._crops = torch.empty((len(pack), *pack.size, 3), dtype=torch.uint8, device=device)
        for start in range(0, len(pack), DECODE_BATCH):
            rows = np.arange(start, min(start + DECODE_BATCH, len(pack)))
            self._crops[start : start + len(rows)] = torch.from_numpy(pack.decode(rows, threads)).to(device)

    def take(self, rows: Rows, following: Rows | None = None) -> Tensor:  # noqa: ARG002 - nothing is left to prepare
        return self._crops[torch.from_numpy(rows).to(self._crops.device)]


class Encoded:
    """Everyone as JPEG in memory; the next step's crops are decoded while this step learns."""

    def __init__(self, pack: Pack, device: torch.device, threads: ThreadPoolExecutor) -> None:
        self._pack, self._device, self._threads = pack, device, threads
        self._clerk = ThreadPoolExecutor(1)  # waits for the threads, which it must not occupy
        self._ahead: tuple[bytes, Future[NDArray[np.uint8]]] | None = None

    def take(self, rows: Rows, following: Rows | None = None) -> Tensor:
        ahead, self._ahead = self._ahead, None
        ready = ahead is not None and ahead[0] == rows.tobytes()
        crops = ahead[1].result() if ahead and ready else self._pack.decode(rows, self._threads)
        if following is not None:
            self._ahead = following.tobytes(), self._clerk.submit(self._pack.decode, following, self._threads)
        return torch.from_numpy(crops).to(self._device, non_blocking=True)


def store(pack: Pack, device: torch.device, room: int | None = None) -> StoredCrops:
    """The crops of a pack, decoded on the device if they take at most `room` bytes: by default half of what is free."""
    threads = ThreadPoolExecutor()
    needed = len(pack) * int(np.prod(pack.size)) * 3
    kind = Decoded if needed <= (free_bytes(device) // 2 if room is None else room) else Encoded
    return kind(pack, device, threads)


def free_bytes(device: torch.device) -> int:
    """Free memory of the device; of the host where it is the CPU."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo", encoding="ascii") as facts:  # noqa: PTH123 - a pseudo-file
            return next(int(line.split()[1]) << 10 for line in facts if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 4 << 30  # no Linux: room for a small set

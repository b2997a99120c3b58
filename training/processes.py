"""Distributed training: a single process, or several under torchrun."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed


@dataclass(frozen=True)
class Processes:
    """This process among those that train one network together."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    """Local rank: the index of its GPU on this machine."""

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes files and logs."""
        return self.rank == 0

    def wait(self) -> None:
        """Barrier: wait until all processes have arrived."""
        if self.count > 1:
            distributed.barrier()

    def agree(self, value: float, device: torch.device) -> float:
        """Broadcast the value of rank 0."""
        if self.count == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=device)
        distributed.broadcast(shared, src=0)
        return float(shared)

    def gather(self, value: Any) -> list[Any]:
        """All-gather: the values of all processes, in the order of ranks."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value)
        return values


@contextmanager
def processes(backend: str) -> Iterator[Processes]:
    """Join torchrun's process group by `backend` ("nccl" or "gloo"); a single process without torchrun."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    distributed.init_process_group(backend)
    try:
        yield Processes(distributed.get_rank(), count, int(os.environ.get("LOCAL_RANK", "0")))
    finally:
        distributed.destroy_process_group()

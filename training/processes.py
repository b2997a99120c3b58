"""Distributed training: a single process, or several under torchrun."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed

LOST = "another process of this training ended or cannot be reached"
CONNECTION = ("gloo/", "Connection closed by peer", "Connection reset by peer", "NCCL")
"""Words of a `RuntimeError` that means that; newer versions of PyTorch raise `DistError`."""


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
    """Join torchrun's process group by `backend` ("nccl" or "gloo"); a single process without torchrun.

    RuntimeError if another process, here or on another machine, ends or cannot be reached.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    try:
        distributed.init_process_group(backend)
        yield Processes(distributed.get_rank(), count, int(os.environ.get("LOCAL_RANK", "0")))
    except RuntimeError as error:
        said = said_of_loss(error)
        if said is None:
            raise
        raise RuntimeError(said) from error
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def said_of_loss(error: Exception) -> str | None:
    """What to say if an error means that another process was lost; None if it means something else."""
    text = str(error)
    if not isinstance(error, distributed.DistError) and not any(words in text for words in CONNECTION):
        return None
    rank, count = os.environ.get("RANK", "?"), os.environ.get("WORLD_SIZE", "?")
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return (
        f"{LOST}, noticed by process {rank} of {count} ({first}); see what the others said, then start all of them "
        "again with --resume: what was learnt up to the last saved state is kept"
    )

"""The Ray engine: Ray Data's map_batches over a pool of actors, on one machine or on a cluster.

RAY_ADDRESS names a cluster, as Ray has it; without it Ray is started here, and only here. Its usage report is off.
"""

import logging
import os
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from .archive import Chain
from .rows import Done
from .step import Job, Step

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TQDM": "0",
}
"""Set before Ray is loaded; what stands in the environment goes before, except for the usage report."""
OBJECT_STORE = 100 << 20  # bytes: names of pictures go in, counts come out


class Actor:
    """One session; Ray makes it in a process of its own."""

    def __init__(self, job: Job) -> None:
        self.step = Step(job)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Do the chains of a batch: pickles in, pickles of what is written out."""
        done = [[*self.step(pickle.loads(chain))] for chain in batch["chain"]]  # noqa: S301 - our own
        return {"done": [pickle.dumps(each) for each in done]}


def run_ray(job: Job, chains: Sequence[Chain], workers: int, gpus: float = 0.0) -> Iterator[Done]:
    """Do all chains by `workers` actors, each with its CPUs (`job.threads`) and `gpus`; yield what is written.

    ImportError without Ray; RuntimeError with Ray's words if the actors cannot work.
    """
    ray = _ray()
    cpus = job.threads or 1
    started = _start(ray, workers * cpus, gpus * workers)
    try:
        rows = ray.data.from_items(
            [{"chain": pickle.dumps(chain)} for chain in chains], override_num_blocks=len(chains)
        )
        found = rows.map_batches(
            Actor,
            fn_constructor_args=(replace(job, threads=cpus),),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(chains))),
            num_cpus=cpus,
            num_gpus=gpus,
        )
        for row in found.iter_rows():
            yield from pickle.loads(row["done"])  # noqa: S301 - our own
    except ray.exceptions.RayError as error:
        raise RuntimeError(f"Ray could not go on: {_cause(error)}") from error
    finally:
        if started:
            ray.shutdown()


def check_ray_is_there() -> None:
    """Raise ImportError unless Ray is installed."""
    _ray()


def _ray() -> Any:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray  # noqa: PLC0415 # pyright: ignore[reportMissingImports]
        import ray.data  # noqa: PLC0415 # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(f"Ray is not installed ({error}): pip install 'lehrnet[ray]'") from error
    return ray


def _start(ray: Any, cpus: int, gpus: float) -> bool:
    """Join the cluster of RAY_ADDRESS, or start Ray on this machine's loopback; False if the caller had done so."""
    if ray.is_initialized():
        return False
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
    else:
        ray.init(
            address="local",
            num_cpus=cpus,
            num_gpus=gpus or None,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE,
            _node_ip_address="127.0.0.1",
            **quiet,
        )
    ray.data.DataContext.get_current().enable_progress_bars = False
    for name in ("ray.data", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return True


def _cause(error: Exception) -> str:
    """The words of what an actor raised, without Ray's traceback."""
    cause: BaseException = error
    while getattr(cause, "cause", None) or cause.__cause__:
        cause = getattr(cause, "cause", None) or cause.__cause__ or cause
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return lines[-1]

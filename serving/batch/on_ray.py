"""The Ray engine: Ray Data's map_batches over a pool of actors, on one machine or on a cluster.

RAY_ADDRESS names a cluster, as Ray has it; without it Ray is started here, and only here. Its usage report is off.
"""

import logging
import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from .archive import Chain
from .rows import Done
from .step import Job, Step, portable

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TQDM": "0",
}
"""Set before Ray is loaded; what stands in the environment goes before, except for the usage report."""
PROXIES = ("http_proxy", "no_proxy")
NOWHERE = {"http_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1,localhost"}
"""For Ray's own processes: even with its report off, one of them asks the cloud's metadata address where it runs."""
OBJECT_STORE = 100 << 20  # bytes: names of pictures go in, counts come out


class Actor:
    """One session; Ray makes it in a process of its own. What it cannot do comes back as a value, in its own words."""

    def __init__(self, job: Job, proxies: Mapping[str, str]) -> None:
        self.fault: Exception | None = None
        for name in _own_proxies():
            del os.environ[name]
        os.environ.update(proxies)  # the user's, where Ray's processes have none
        try:
            self.step = Step(job)
        except Exception as error:
            self.fault = portable(error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Do the chains of a batch: pickles in; pickles of what was written, or of an exception, out."""
        return {"done": [pickle.dumps(self._do(pickle.loads(chain))) for chain in batch["chain"]]}  # noqa: S301 - our own

    def _do(self, chain: Chain) -> list[Done] | Exception:
        if self.fault is not None:
            return self.fault
        try:
            return [*self.step(chain)]
        except Exception as error:
            return portable(error)


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
            fn_constructor_args=(replace(job, threads=cpus), _own_proxies()),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(workers, len(chains))),
            num_cpus=cpus,
            num_gpus=gpus,
        )
        for row in found.iter_rows():
            done = pickle.loads(row["done"])  # noqa: S301 - our own
            if isinstance(done, Exception):
                raise done
            yield from done
    except ray.exceptions.RayError as error:
        raise RuntimeError(f"Ray could not go on: {_last_words(error)}") from error
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
        with _proxies(NOWHERE):
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


@contextmanager
def _proxies(proxies: Mapping[str, str]) -> Iterator[None]:
    """Let processes that start meanwhile have these proxies, and no others."""
    before = _own_proxies()
    for name in before:
        del os.environ[name]
    os.environ.update(proxies)
    try:
        yield
    finally:
        for name in proxies:
            os.environ.pop(name, None)
        os.environ.update(before)


def _own_proxies() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.lower() in PROXIES}


def _last_words(error: Exception) -> str:
    """The last line of what Ray says of a failure; the lines before it are its traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

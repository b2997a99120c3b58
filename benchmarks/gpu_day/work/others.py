"""ONNX Runtime on CUDA, and TensorRT-RTX, where their packages are here and serve this GPU."""

import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ....model.checkpoint import load_checkpoint
from ....runtime.bundle import open_bundle
from ....runtime.session import Session, open_artefact
from ...gpu import gpu_facts
from ...interleave import race
from .job import AbsentError, Job
from .place import random_checkpoint

CUDA_PROVIDER = "CUDAExecutionProvider"
BATCHES = (1, 8)


def work(job: Job) -> None:
    """Keep milliseconds, host to host, by backend and batch, and for each backend that is left out the reason."""
    reasons, backends = _why_not(), {}
    job.keep(left_out=reasons)
    if len(reasons) == len(BACKENDS) and not job.stand_in:
        raise AbsentError("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
    from ....export import export_bundle  # noqa: PLC0415 - needs onnx and onnxsim, after the reasons were kept

    path = random_checkpoint(job, "lehrnet_w32")
    root = export_bundle(load_checkpoint(path), job.scratch / "bundle", precisions=["fp32"], overwrite=True).root
    for name, opened in BACKENDS.items():
        if name not in reasons:
            backends[name] = _times(opened(root), root, job)
            job.keep(backends=backends)
    if job.stand_in:
        job.keep(rehearsed=_times(open_artefact(open_bundle(root), "fp32", "cpu"), root, job))


def _times(session: Session, root: Path, job: Job) -> dict[str, dict[str, float]]:
    found = {}
    for batch in BATCHES[: 1 if job.stand_in else None]:
        crops = np.zeros((batch, 3, *open_bundle(root).spec.input_size), np.float32)
        raced = race({"run": partial(session.run, crops)}, "run", 2 if job.stand_in else 50)
        found[str(batch)] = raced.milliseconds["run"]
    return found


def _onnxruntime(root: Path) -> Session:
    return open_artefact(open_bundle(root), "fp32", "cuda")


def _tensorrt_rtx(root: Path) -> Session:
    from ....export.engine import add_engine  # noqa: PLC0415 - the library is loaded where it is there
    from ....export.trt_library import Settings, load_library  # noqa: PLC0415

    began = time.monotonic()
    capability = gpu_facts()[0]["compute_capability"]
    name = add_engine(root, "fp32", Settings(batches=(1, 8), capabilities=(capability,)), load_library("tensorrt_rtx"))
    print(f"{name} was built in {time.monotonic() - began:.0f} s")
    return open_artefact(open_bundle(root), name, "cuda", trust_engine=True)


def _why_not() -> dict[str, str]:
    """For each backend that cannot run here, the reason."""
    reasons = {}
    if find_spec("onnxruntime") is None:
        reasons["onnxruntime"] = "it is not installed"
    else:
        import onnxruntime  # noqa: PLC0415

        if CUDA_PROVIDER not in onnxruntime.get_available_providers():
            reasons["onnxruntime"] = f"{onnxruntime.__version__} here has no {CUDA_PROVIDER}: it is a CPU's build"
    if find_spec("tensorrt_rtx") is None:
        reasons["tensorrt_rtx"] = "it is not installed, and its wheel is larger than what can be carried"
    return reasons


BACKENDS: dict[str, Callable[[Path], Session]] = {"onnxruntime": _onnxruntime, "tensorrt_rtx": _tensorrt_rtx}

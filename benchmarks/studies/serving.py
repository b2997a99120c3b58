"""Requests a second and latency through a real Triton, by the delay of its dynamic batching, beside direct calls.

    make triton
    python -m lehrnet.benchmarks.studies.serving BUNDLE --out benchmarks/results/serving_cpu.json

The bundle needs `native_fp32`. Clients, server and network share this machine's cores, so that a client's own work is
part of what is measured. Load averages say whether others were at work, too.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.estimator import PoseEstimator
from ...serving.triton import write_repository
from ...serving.triton_config import Serving
from ..machine import core_count
from ..results import write_result
from ..triton_server import ask, triton

FRAME = (480, 640, 3)
DELAYS_MS = (0.0, 1.0, 2.0, 5.0, 10.0)
THREADS = (1, 8)
EXECUTIONS = "nv_inference_exec_count"


def measure(bundle: Path, seconds: float, shared: str) -> dict[str, Any]:
    """Figures of direct calls, and of the server by delay and number of clients; one person on a VGA frame each."""
    frames = np.random.default_rng(0).integers(0, 256, (8, *FRAME), dtype=np.uint8)
    pairs = [(frame, np.array([[100, 40, 300, 460]], np.float32)) for frame in frames]
    before = os.getloadavg()
    direct = _direct(bundle, pairs, seconds)
    served = [_served(bundle, pairs, seconds, delay) for delay in DELAYS_MS]
    return {
        "frame": list(FRAME),
        "people": 1,
        "seconds_each": seconds,
        "cores": core_count(),
        "shared_machine": shared,
        "load_average": {"before": before, "after": os.getloadavg()},
        "direct": direct,
        "triton": [row for rows in served for row in rows],
    }


def _direct(bundle: Path, pairs: list[Any], seconds: float) -> dict[str, Any]:
    with PoseEstimator.open(bundle, device="cpu") as estimator:
        one = _timed(lambda: estimator.run_many(pairs[:1]), seconds)
        eight = _timed(lambda: estimator.run_many(pairs), seconds)
    return {"one_frame": _figures(one, 1), "eight_frames_a_call": _figures(eight, len(pairs))}


def _served(bundle: Path, pairs: list[Any], seconds: float, delay_ms: float) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Serving(delay_ms=delay_ms, queue=256, deadline_ms=10_000)
        write_repository(bundle, folder / "repository", settings)
        with triton(folder / "repository", folder / "log") as server:
            for threads in THREADS:
                for protocol in ("grpc", "http") if delay_ms == Serving.delay_ms else ("grpc",):
                    ask(server, pairs, folder, threads=threads, protocol=protocol)  # warm
                    executions = server.metric(EXECUTIONS)
                    found = ask(server, pairs, folder, threads=threads, protocol=protocol, seconds=seconds)
                    times = np.array([found[key] for key in found if key.startswith("ms_")], np.float64)
                    asked = {"delay_ms": delay_ms, "clients": threads, "protocol": protocol}
                    per_run = round(len(times) / max(server.metric(EXECUTIONS) - executions, 1), 2)
                    refused = sum(key.startswith("said_") for key in found)
                    rate = len(times) / seconds
                    rows.append({**asked, **_figures(times, 1, rate), "requests_per_run": per_run, "refused": refused})
    return rows


def _timed(call: Callable[[], object], seconds: float) -> NDArray[np.float64]:
    """Milliseconds of each call."""
    call()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1e3)
    return np.array(times)


def _figures(times: NDArray[np.float64], frames: int, rate: float | None = None) -> dict[str, Any]:
    p50, p95, p99 = np.percentile(times, (50, 95, 99))
    each = rate if rate is not None else frames * 1e3 / times.mean()
    latency = {"p50": p50, "p95": p95, "p99": p99}
    return {"requests_per_second": round(each, 1), "ms": {name: round(value, 2) for name, value in latency.items()}}


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description="Triton against direct calls.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--shared", default="not said", help="who else was at work on this machine")
    options = parser.parse_args()
    facts = measure(options.bundle, options.seconds, options.shared)
    write_result(options.out, "python -m lehrnet.benchmarks.studies.serving BUNDLE", facts)


if __name__ == "__main__":
    main()

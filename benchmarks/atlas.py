"""The branch-time atlas: where the network's time goes, beside its multiply-adds and beside what the machine allows.

Every node of the graph is timed by ONNX Runtime's profiler and counted into its place in the network: stage, branch and
kind of block. "Time at the limit" is a roofline of this machine: its measured copy bandwidth and matrix rate.
"""

import json
import os
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import NodeProto

from ..calibration.graph import Graph, read_graph
from ..calibration.target import Target, modelled_seconds, node_seconds
from ..runtime.bundle import INPUT_NAME

BRANCH = re.compile(r"/(stage\d)/exchanges\.\d+/branches\.(\d)")
STAGE = re.compile(r"/(stem|stage\d|transition\d|head)\b")
LAYOUT = "layout"
"""What the runtime adds of its own: the same values in another order."""
ROUNDS = 10


@dataclass(frozen=True)
class Place:
    """Where a node belongs."""

    stage: str
    branch: str
    kind: str
    """ "LConv", "EMA", "fusion", ..."""


def place_of(node: str) -> Place:
    """The place of a node by its name, which is the path of its module."""
    stage = STAGE.match(node)
    if stage is None:
        return Place(LAYOUT, "-", LAYOUT)
    branch = BRANCH.match(node)
    if branch is not None:
        kind = "EMA" if "/attention/" in node else "LConv" if "/pair/" in node else "residual"
        return Place(branch[1], branch[2], kind)
    if "/paths." in node or "/exchanges." in node:
        return Place(stage[1], "-", "fusion")
    return Place(stage[1], "-", "Bottleneck" if stage[1] == "stage1" else stage[1].rstrip("0123456789"))


def machine_limits(megabytes: int = 256, side: int = 1024) -> Target:
    """This machine's copy bandwidth and FP32 matrix rate, the best of some tries."""
    source = np.ones(megabytes << 18, np.float32)
    sink, square = np.empty_like(source), np.ones((side, side), np.float32)
    product = np.empty_like(square)
    copies, products = [], []
    for _ in range(5):
        start = time.perf_counter()
        np.copyto(sink, source)
        copies.append(time.perf_counter() - start)
        start = time.perf_counter()
        np.matmul(square, square, out=product)
        products.append(time.perf_counter() - start)
    rate = side**3 / min(products)
    return Target("this machine", {"fp32": rate, "fp16": rate, "int8": rate}, 2 * source.nbytes / min(copies))


def measure(path: Path, batch: int = 8, threads: int | None = None) -> dict[str, Any]:
    """The atlas of an FP32 graph on the CPU: milliseconds for one batch by stage, by branch and by kind."""
    graph, limits = read_graph(path), machine_limits()
    measured = _profile(path, graph, batch, threads)
    limit = {node.name: 1e3 * batch * node_seconds(graph, node, limits, "fp32") for node in graph.nodes}
    nodes = {node.name: node for node in graph.nodes}
    total = sum(milliseconds for milliseconds, _ in measured.values())
    facts: dict[str, Any] = {
        "batch": batch,
        "milliseconds": round(total, 3),
        "limit_milliseconds": round(1e3 * batch * modelled_seconds(graph, other="fp32", target=limits), 3),
        "copy_gb_per_s": round(limits.bytes_per_s / 1e9, 2),
        "gmacs_per_s": round(limits.macs_per_s["fp32"] / 1e9, 1),
    }
    for view in ("stage", "branch", "kind"):
        facts[f"by_{view}"] = _rolled_up(graph, nodes, measured, limit, view)
    return facts


def _rolled_up(
    graph: Graph,
    nodes: Mapping[str, NodeProto],
    measured: Mapping[str, tuple[float, int]],
    limit: Mapping[str, float],
    view: str,
) -> dict[str, dict[str, float]]:
    """Sums by one attribute of the places; a branch's name carries its stage."""
    rows: dict[str, dict[str, float]] = defaultdict(
        lambda: {"milliseconds": 0.0, "launches": 0, "macs": 0, "limit": 0.0}
    )

    def row(name: str) -> dict[str, float]:
        place = place_of(name)
        key = f"{place.stage} branch {place.branch}" if view == "branch" and place.branch != "-" else place.stage
        return rows[place.kind if view == "kind" else key]

    for name, (milliseconds, launches) in measured.items():
        row(name)["milliseconds"] += milliseconds
        row(name)["launches"] += launches
    for name, node in nodes.items():
        row(name)["macs"] += graph.macs(node)
        row(name)["limit"] += limit[name]
    time_of_all = sum(each["milliseconds"] for each in rows.values())
    macs_of_all = sum(each["macs"] for each in rows.values())
    return {
        name: {
            "milliseconds": round(each["milliseconds"], 3),
            "time_share": round(each["milliseconds"] / time_of_all, 4),
            "macs_share": round(each["macs"] / macs_of_all, 4),
            "limit_milliseconds": round(each["limit"], 3),
            "launches": int(each["launches"]),
        }
        for name, each in sorted(rows.items(), key=lambda pair: -pair[1]["milliseconds"])
    }


def _profile(path: Path, graph: Graph, batch: int, threads: int | None) -> dict[str, tuple[float, int]]:
    """Milliseconds and launches of one run by node, from ONNX Runtime's profiler."""
    height, width = graph.shape(INPUT_NAME)[1:]
    crops = np.random.default_rng(0).standard_normal((batch, 3, height, width), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = os.path.join(folder, "profile")  # noqa: PTH118 - a prefix, not a path
        if threads is not None:
            options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for _ in range(ROUNDS):
            session.run(None, {INPUT_NAME: crops})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    times: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["name"].removesuffix("_kernel_time")].append(event["dur"] / 1e3)
    # The median, since a first run and an interrupted one are no measure of a node.
    return {name: (float(np.median(each)) * len(each) / ROUNDS, len(each) // ROUNDS) for name, each in times.items()}


def describe(facts: dict[str, Any]) -> str:
    """The atlas for a person."""
    lines = [
        f"batch {facts['batch']}: {facts['milliseconds']:.1f} ms in nodes; the machine's limit is "
        f"{facts['limit_milliseconds']:.1f} ms ({facts['copy_gb_per_s']:g} GB/s, "
        f"{facts['gmacs_per_s']:g} G multiply-adds/s)"
    ]
    for view in ("stage", "branch", "kind"):
        lines.append(f"{'by ' + view:18} {'ms':>8} {'time':>7} {'macs':>7} {'limit ms':>9} {'launches':>9}")
        for name, row in facts[f"by_{view}"].items():
            lines.append(
                f"{name:18} {row['milliseconds']:8.2f} {row['time_share']:7.1%} {row['macs_share']:7.1%} "
                f"{row['limit_milliseconds']:9.2f} {row['launches']:9d}"
            )
    return "\n".join(lines)

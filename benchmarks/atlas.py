"""The branch-time atlas: the network's time by stage, branch and kind of block, with multiply-adds and roofline.

Every node of the graph is timed by ONNX Runtime's profiler. "Time at the limit" is by a roofline of this machine for
each node alone; a runtime that fuses nodes, and so reads maps fewer times, can be faster.
"""

import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import NodeProto

from ..calibration.graph import Graph, read_graph
from ..calibration.target import node_bytes
from ..model.places import VIEWS, place_of
from .machine import core_count
from .roofline import Roofline, measure_roofline

ROUNDS = 10
SMALL = 0.001  # share of the time below which layers without multiply-adds are not listed


@dataclass(frozen=True)
class Cost:
    """Cost of a node for a batch."""

    macs: int
    traffic: int
    """Bytes read and written: weights and maps."""
    limit: float
    """Milliseconds by the roofline, for the node alone."""


def measure(path: Path, batch: int = 8, threads: int | None = None, *, light: bool = True) -> dict[str, Any]:
    """The atlas of an FP32 graph on the CPU: milliseconds for one batch by stage, branch and kind, and by layer.

    `light` says whether the network's units hold LConvs.
    """
    graph, roofs = read_graph(path), measure_roofline(threads or core_count())
    measured = _profile(path, graph, batch, threads)
    costs = {node.name: _cost(graph, node, batch, roofs) for node in graph.nodes}
    facts: dict[str, Any] = {
        "batch": batch,
        "milliseconds": round(sum(milliseconds for milliseconds, _ in measured.values()), 3),
        "limit_milliseconds": round(sum(cost.limit for cost in costs.values()), 3),
        "copy_gb_per_s": {str(size): round(rate / 1e9, 1) for size, rate in roofs.bytes_per_s.items()},
        "gmacs_per_s": round(roofs.macs_per_s / 1e9, 1),
    }
    for view in VIEWS:
        places = {name: getattr(place_of(name, light=light), view) for name in {*measured, *costs}}
        facts[f"by_{view}"] = _rolled_up(places, measured, costs)
    layers = _rolled_up({name: name for name in measured}, measured, costs)
    facts["layers"] = {name: row for name, row in layers.items() if row["macs"] or row["time_share"] >= SMALL}
    return facts


def _cost(graph: Graph, node: NodeProto, batch: int, roofs: Roofline) -> Cost:
    weights, maps = node_bytes(graph, node, "fp32")
    macs, traffic = batch * graph.macs(node), weights + batch * maps
    return Cost(macs, traffic, 1e3 * roofs.seconds(macs, traffic))


def _rolled_up(
    places: Mapping[str, str], measured: Mapping[str, tuple[float, int]], costs: Mapping[str, Cost]
) -> dict[str, dict[str, float]]:
    """Sums over the nodes of each place, longest time first."""
    rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for name, place in places.items():
        milliseconds, launches = measured.get(name, (0.0, 0))
        cost = costs.get(name, Cost(0, 0, 0.0))
        rows[place].append((milliseconds, launches, cost.macs, cost.traffic, cost.limit))
    sums = {place: [sum(column) for column in zip(*parts, strict=True)] for place, parts in rows.items()}
    time_of_all, _, macs_of_all, *_ = (sum(column) for column in zip(*sums.values(), strict=True))
    return {
        place: {
            "milliseconds": round(milliseconds, 3),
            "time_share": round(milliseconds / time_of_all, 4),
            "macs_share": round(macs / macs_of_all, 4),
            "limit_milliseconds": round(limit, 4),
            "launches": int(launches),
            "macs": int(macs),
            "bytes": int(traffic),
        }
        for place, (milliseconds, launches, macs, traffic, limit) in sorted(sums.items(), key=lambda pair: -pair[1][0])
    }


def _profile(path: Path, graph: Graph, batch: int, threads: int | None) -> dict[str, tuple[float, int]]:
    """Milliseconds and launches of one run by node, from ONNX Runtime's profiler."""
    height, width = graph.shape(graph.inputs[0])[1:]
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
            session.run(None, {graph.inputs[0]: crops})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    times: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            node = _node_of(event["name"].removesuffix("_kernel_time"), event["args"]["op_name"], graph)
            times[node].append(event["dur"] / 1e3)
    # The median excludes first and interrupted runs.
    return {name: (float(np.median(each)) * len(each) / ROUNDS, len(each) // ROUNDS) for name, each in times.items()}


def roofs(facts: dict[str, Any]) -> str:
    """The machine's roofline as text."""
    rates = list(facts["copy_gb_per_s"].values())
    return f"{max(rates):g} GB/s in cache, {rates[-1]:g} GB/s in memory, {facts['gmacs_per_s']:g} G multiply-adds/s"


def _node_of(event: str, kind: str, graph: Graph) -> str:
    """The graph's node of a profiled node: ONNX Runtime names nodes in its own layout by their output tensor.

    A conv fused with its activation and sum writes the tensor of the last one.
    """
    node = graph.producer.get(event.removesuffix("_nchwc"))
    while node is not None and kind == "Conv" and node.op_type != "Conv":
        before = [graph.producer[name] for name in node.input if name in graph.producer]
        node = next((each for each in before if each.op_type == "Conv"), before[0] if before else None)
    return event if node is None else node.name


def describe(facts: dict[str, Any]) -> str:
    """The atlas as text."""
    lines = [
        f"batch {facts['batch']}: {facts['milliseconds']:.1f} ms in nodes; the machine's limit is "
        f"{facts['limit_milliseconds']:.1f} ms ({roofs(facts)})"
    ]
    for view in VIEWS:
        lines.append(f"{'by ' + view:18} {'ms':>8} {'time':>7} {'macs':>7} {'limit ms':>9} {'launches':>9}")
        for name, row in facts[f"by_{view}"].items():
            lines.append(
                f"{name:18} {row['milliseconds']:8.2f} {row['time_share']:7.1%} {row['macs_share']:7.1%} "
                f"{row['limit_milliseconds']:9.2f} {row['launches']:9d}"
            )
    return "\n".join(lines)

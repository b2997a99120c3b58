"""Roofline model of a graph's latency on an embedded target. Modelled, never measured."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from onnx import NodeProto

from .graph import Graph

Width = Literal["int8", "fp16", "fp32"]
BYTES: Mapping[Width, int] = {"int8": 1, "fp16": 2, "fp32": 4}


@dataclass(frozen=True)
class Target:
    """Peak rates of a device, from its data sheet; only their ratios matter here."""

    name: str
    macs_per_s: Mapping[Width, float]
    bytes_per_s: float


# NVIDIA, Jetson Orin Nano 8 GB data sheet: 40 TOPS of sparse INT8, so 20 dense and 10 in FP16; 1,024 CUDA cores at
# 625 MHz; 68 GB/s. A multiply-add is two operations.
ORIN_NANO = Target("Jetson Orin Nano 8 GB", {"int8": 10e12, "fp16": 5e12, "fp32": 0.64e12}, 68e9)


def modelled_seconds(
    graph: Graph, int8: Collection[str] = (), other: Width = "fp16", target: Target = ORIN_NANO
) -> float:
    """Modelled seconds for one crop: the sum over all nodes of max(compute time, memory time).

    The convs named in `int8` read and compute in INT8; a tensor is INT8 in memory if all of its readers are such
    convs. All other nodes run in `other`. Fusion is not modelled, so only ratios of two results are meaningful.
    """
    return sum(node_seconds(graph, node, target, "int8" if node.name in int8 else other, int8) for node in graph.nodes)


def node_seconds(graph: Graph, node: NodeProto, target: Target, width: Width, int8: Collection[str] = ()) -> float:
    """Modelled seconds of one node for one crop: max(compute time, memory time)."""
    traffic = sum(node_bytes(graph, node, width, int8))
    return max(graph.macs(node) / target.macs_per_s[width], traffic / target.bytes_per_s)


def node_bytes(graph: Graph, node: NodeProto, width: Width, int8: Collection[str] = ()) -> tuple[int, int]:
    """Memory traffic of a node for one crop, bytes: its weights, and the maps that it reads and writes."""
    wide: Width = "fp16" if width == "int8" else width
    weights = maps = 0
    for name in (*node.input, *node.output):
        if not name or not graph.is_float(name):
            continue
        readers = graph.consumers[name]
        narrow = bool(readers) and all(reader.name in int8 for reader in readers)
        size = int(np.prod(graph.shape(name)))
        if name in graph.constants:
            weights += size * BYTES[width]
        else:
            maps += size * BYTES["int8" if narrow else wide]
    return weights, maps

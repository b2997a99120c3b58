"""How long a graph takes on a device that is not here: a roofline of its convs. Modelled, never measured."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .graph import Graph

Width = Literal["int8", "fp16", "fp32"]
BYTES: Mapping[Width, int] = {"int8": 1, "fp16": 2, "fp32": 4}


@dataclass(frozen=True)
class Target:
    """Peak rates by a data sheet; what counts is how they compare."""

    name: str
    macs_per_s: Mapping[Width, float]
    bytes_per_s: float


# NVIDIA, Jetson Orin Nano 8 GB data sheet: 40 TOPS of sparse INT8, so 20 dense and 10 in FP16; 1,024 CUDA cores at
# 625 MHz; 68 GB/s. A multiply-add is two operations.
ORIN_NANO = Target("Jetson Orin Nano 8 GB", {"int8": 10e12, "fp16": 5e12, "fp32": 0.64e12}, 68e9)


def modelled_seconds(
    graph: Graph, int8: Collection[str] = (), other: Width = "fp16", target: Target = ORIN_NANO
) -> float:
    """Seconds for one crop: for each node the longer of its arithmetic and of its traffic, added up.

    The convs named in `int8` read and compute in INT8; what they write is read in INT8 too where all of its readers
    are such convs. Whatever else there is runs in `other`. Fusion is not modelled, so the ratio of two mixes counts.
    """
    stored: dict[str, int] = {}
    seconds = 0.0
    for node in graph.nodes:
        width: Width = "int8" if node.name in int8 else other
        traffic = 0.0
        for name in node.input:
            if name and graph.is_float(name):
                size = BYTES[width] if name in graph.constants else stored.get(name, BYTES[other])
                traffic += _count(graph, name) * size
        for name in node.output:
            if not graph.is_float(name):
                continue
            readers = graph.consumers[name]
            narrow = bool(readers) and all(reader.name in int8 for reader in readers)
            stored[name] = BYTES["int8" if narrow else other]
            traffic += _count(graph, name) * stored[name]
        seconds += max(graph.macs(node) / target.macs_per_s[width], traffic / target.bytes_per_s)
    return seconds


def _count(graph: Graph, name: str) -> int:
    return int(np.prod(graph.shape(name)))

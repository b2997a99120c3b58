"""The paper's tables with our counts and measured latency, for all networks in one interleaved run."""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..export.graph import export_module
from ..export.native import NATIVE, lone_bundle, native_bytes
from ..model.checkpoint import DEFAULT_WEIGHTS, load_checkpoint
from ..model.config import VARIANTS, variant
from ..model.cost import network_cost
from ..model.forms import deploy
from ..model.network import create_model
from ..pose.evaluate import evaluate
from ..pose.metrics import for_json
from ..pose.spec import COCO
from ..runtime.backends.library_path import find_library
from ..runtime.backends.native import NativeSession
from ..runtime.backends.onnxruntime import open_graph, run_graph
from ..runtime.bundle import INPUT_NAME, OUTPUT_NAME
from ..runtime.session import open_session
from .interleave import race
from .paper import WHY_THEY_DIFFER, paper_cost, paper_table
from .rivals import RIVALS

SIZE = COCO.input_size
OURS = ("lehrnet_w32", "lehrnet_w32_lean", "lehrnet_w32_literal", "hrnet_w32")
REFERENCE = "hrnet_w32"
_BN = "The paper's figure is a counter's that adds norms and activations; ours counts convolutions and matrix products."
_BINARY = (
    "Its authors count a transposed convolution on its output grid and print units of 2^30: "
    "(4.017e9 + 4 x 1.409e9) / 2^30 = 8.99."
)


@dataclass(frozen=True)
class Row:
    """Position of a network in the paper's tables."""

    table: str
    column: str
    value: str
    why: str = ""


ROWS = {
    "lehrnet_w32": Row("table1_coco_val2017", "backbone", "LE-HRNet-W32"),
    "lite_hrnet_18": Row("table1_coco_val2017", "backbone", "Lite-HRNet-18"),
    "lite_hrnet_30": Row("table1_coco_val2017", "backbone", "Lite-HRNet-30"),
    "simplebaseline_mobilenetv2": Row("table1_coco_val2017", "backbone", "MobilenetV2", _BN),
    "simplebaseline_resnet50": Row("table2_coco_testdev2017", "backbone", "SBL-50", _BINARY),
}

_MORE_DATA = "Not in the paper: published figures, trained on AI Challenger besides COCO (arXiv 2303.07399, MMPose)."
PUBLISHED = {
    "rtmpose_s": {"params_m": 5.47, "macs_g": 0.68, "ap": 72.2},
    "rtmpose_m": {"params_m": 13.59, "macs_g": 1.93, "ap": 75.8},
}
"""Of rivals that are younger than the paper or that it leaves out."""


def printed(name: str) -> dict[str, Any]:
    """Published figures of a network: parameters (M), multiply-adds (G), AP; empty if the paper has no such row."""
    if name in PUBLISHED:
        return PUBLISHED[name]
    row = ROWS.get(name)
    if row is not None:
        found = next((line for line in paper_table(row.table) if line[row.column] == row.value), None)
        if found is not None:
            keys = {"params_m": "params_m", "macs_g": "flops_g", "ap": "ap"}
            return {key: float(found[column]) for key, column in keys.items() if found.get(column)}
    cost = paper_cost(name)
    return {} if cost is None else {"params_m": cost.params_m, "macs_g": cost.coco_macs_g}


def counted(name: str) -> tuple[int, int]:
    """Parameters, and multiply-adds of one crop of 256x192; for rivals by PyTorch's counter."""
    if name in VARIANTS:
        cost = network_cost(variant(name), SIZE)
        return cost.params, cost.macs
    network = RIVALS[name]().eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, *SIZE))
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() // 2


def deployed(name: str) -> nn.Module:
    """A network in its exported form: ours in exact inference forms, rivals unchanged; ValueError for other names."""
    torch.manual_seed(0)
    if name in VARIANTS:
        return deploy(create_model(name), SIZE)
    if name in RIVALS:
        return RIVALS[name]().eval()
    raise ValueError(f"no rival is called {name!r}; there are {', '.join((*VARIANTS, *RIVALS))}")


def measure(
    names: Sequence[str],
    batches: Sequence[int] = (1, 8),
    rounds: int = 15,
    threads: int | None = None,
    progress: Callable[[Iterable[str], str], Iterable[str]] = lambda names, _: names,
) -> dict[str, Any]:
    """Cost and latency of every network, through the same exporter and the same runtime, on the CPU."""
    builders = {name: deployed(name) for name in names}  # an unknown name is refused before minutes are spent
    rows: dict[str, dict[str, Any]] = {}
    subjects: dict[str, Callable[[NDArray[np.float32]], object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for index, name in enumerate(progress(names, "exporting")):
            path = Path(folder) / f"{index}.onnx"
            params, macs = counted(name)
            model = export_module(builders[name], SIZE, path)
            facts = {"params": params, "macs": macs, "paper": printed(name), "why": _why(name)}
            rows[name] = {**facts, "nodes": len(model.graph.node)}
            subjects[name] = graph_subject(path, threads)
            if name in VARIANTS and find_library() is not None:
                rows[f"{name} ({NATIVE})"] = {**facts, "why": "", "nodes": None}
                subjects[f"{name} ({NATIVE})"] = _native(name, Path(folder) / f"{index}", threads)
    reference = REFERENCE if REFERENCE in names else names[0]
    for batch in progress([str(batch) for batch in batches], "timing"):
        crops = np.random.default_rng(0).standard_normal((int(batch), 3, *SIZE), dtype=np.float32)
        result = race({name: partial(run, crops) for name, run in subjects.items()}, reference, rounds)
        for name, row in rows.items():
            times = {"milliseconds": result.milliseconds[name], "speed_up": result.speed_up[name]}
            row.setdefault("latency", {})[batch] = times
    return {"input_size": list(SIZE), "rounds": rounds, "threads": threads, "reference": reference, "networks": rows}


def graph_subject(path: Path, threads: int | None) -> Callable[[NDArray[np.float32]], object]:
    """A graph in ONNX Runtime, whatever its output is."""
    session = open_graph(path, None, threads)
    return lambda crops: run_graph(session, path, [OUTPUT_NAME], {INPUT_NAME: crops})


def _native(name: str, folder: Path, threads: int | None) -> Callable[[NDArray[np.float32]], object]:
    """A network in our own engine, from a bundle that holds nothing else."""
    folder.mkdir()
    torch.manual_seed(0)
    bundle = lone_bundle(folder, native_bytes(create_model(name)), NATIVE, name, COCO)
    return NativeSession(bundle, NATIVE, threads).run


def _why(name: str) -> str:
    """Why the published figures differ from ours, or where they are from."""
    return WHY_THEY_DIFFER.get(name) or (ROWS[name].why if name in ROWS else _MORE_DATA if name in PUBLISHED else "")


def _has_attention(name: str) -> bool:
    return name in VARIANTS and variant(name).attention


def shipped_accuracy(folder: Path) -> dict[str, Any]:
    """AP or PCKh of the shipped weights, which were trained on far less data than the paper's."""
    checkpoint = load_checkpoint(DEFAULT_WEIGHTS)
    found = evaluate(open_session(DEFAULT_WEIGHTS, "cpu").run, folder, checkpoint.spec, flip=True)
    facts = {"metric": found.metric, "people": found.people, "figures": for_json(found.figures)}
    return {"sha256": hashlib.sha256(DEFAULT_WEIGHTS.read_bytes()).hexdigest(), "note": checkpoint.note, **facts}


def markdown(facts: dict[str, Any]) -> str:
    """The figures as a Markdown table, with notes on differences."""
    batches = list(next(iter(facts["networks"].values()))["latency"])
    head = ["network", "parameters, M", "paper", "multiply-adds, G", "paper", "AP published", "nodes"]
    head += [f"ms, batch {batch}" for batch in batches]
    head += [f"speed over {facts['reference']}, batch {batch}" for batch in batches]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for name, row in facts["networks"].items():
        paper = row["paper"]
        cells = [name, f"{row['params'] / 1e6:.3f}", str(paper.get("params_m", "-")), f"{row['macs'] / 1e9:.3f}"]
        cells += [str(paper.get("macs_g", "-")), str(paper.get("ap", "-")), str(row["nodes"] or "-")]
        cells += [f"{row['latency'][batch]['milliseconds']['p50']:.1f}" for batch in batches]
        cells += [f"{row['latency'][batch]['speed_up']['p50']:.2f}" for batch in batches]
        lines.append(f"| {' | '.join(cells)} |")
    notes = [f"- `{name}`: {row['why']}" for name, row in facts["networks"].items() if row["why"]]
    if "shipped" in facts:
        shipped = facts["shipped"]
        figures = ", ".join(
            f"{name} {100 * value:.1f}" for name, value in shipped["figures"].items() if value is not None
        )
        notes.append(f"- the shipped weights ({shipped['note']}), {shipped['people']} people, flip test: {figures}")
    else:
        notes.append(
            "- AP of the paper's training is not measured here: it needs all of COCO. --data FOLDER gives ours."
        )
    return "\n".join([*lines, "", *notes])

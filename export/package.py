"""Export of a checkpoint to a bundle: weights, graphs, parity ladder and manifest."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import torch

from ..calibration.calibrate import Calibration, Progress
from ..model.checkpoint import DEFAULT_WEIGHTS, Checkpoint, load_checkpoint, save_checkpoint
from ..model.config import DEFAULT_VARIANT, NetworkConfig, variant_name
from ..model.forms import deploy
from ..model.network import create_model
from ..pose.batches import LabelledBatch
from ..pose.heatmap import DecodeMethod, Frame
from ..pose.skeleton import Skeleton
from ..pose.spec import spec_for
from ..runtime.backends.library_path import library_fault
from ..runtime.bundle import WEIGHTS, Artefact, Bundle, new_bundle_folder, open_bundle, write_manifest
from .card import write_card
from .fused import fuse_attention
from .graph import export_network, opset, tool_versions
from .native import NATIVE, write_native
from .native_int8 import write_native_int8
from .precisions import GRAPHS, PRECISIONS, PrecisionWriter, WrittenGraph
from .verify import verify_bundle
from .web_graphs import write_page
from .whole import check_whole, write_whole


def open_checkpoint(
    path: Path | None,
    *,
    network: str | None = None,
    joints: int | None = None,
    untrained: bool = False,
    size: tuple[int, int] | None = None,
    decode: DecodeMethod | None = None,
    frame: Frame | None = None,
    skeleton: Skeleton | None = None,
) -> Checkpoint:
    """Load a checkpoint from `path`, or the shipped weights, or with `untrained` make random weights of `network`.

    `size` (height, width), `decode`, `frame` and `skeleton` are for plain state dicts and random weights, which do not
    record them.
    """
    if untrained:
        if path is not None:
            raise ValueError(f"both {path} and untrained weights were asked for; choose one")
        torch.manual_seed(0)
        joints = joints or (NetworkConfig.joints if skeleton is None else len(skeleton))
        spec = spec_for(joints, skeleton)
        model = create_model(network or DEFAULT_VARIANT, joints).eval()
        frame = frame or spec.frame
        spec = replace(spec, input_size=size or spec.input_size, decode=decode or spec.decode, frame=frame)
        return Checkpoint(model, spec, "random weights: the keypoints mean nothing", trained=False)
    return load_checkpoint(
        path or DEFAULT_WEIGHTS,
        network=network,
        joints=joints,
        size=size,
        decode=decode,
        frame=frame,
        skeleton=skeleton,
    )


def ranges_beside(out: Path) -> Path:
    """The file of a bundle's activation ranges: beside the bundle, so that a killed export can reuse them."""
    return out.with_name(f"{out.name}.ranges.json")


def export_bundle(
    checkpoint: Checkpoint,
    out: Path,
    *,
    precisions: Iterable[str] | None = None,
    calibration: Calibration | None = None,
    whole: bool = False,
    web: Path | None = None,
    crops: Iterable[LabelledBatch] | None = None,
    overwrite: bool = False,
    progress: Progress = lambda things, _, __: things,
) -> Bundle:
    """Write a bundle under `out` and return it; nothing is written unless every graph passes the parity ladder.

    The ladder runs on batches of `crops`, else on the judged people of `calibration`, else on noise; its results go
    into the manifest. Without `precisions` it holds FP32: the graph, and the packed network for our CPU engine where
    the library is here to verify it. `whole` adds the graphs from pixels to keypoints; `web`, the folder of the npm
    package onnxruntime-web (`find_runtime`), adds the page that runs the bundle in a browser. ValueError for unknown
    precisions, for INT8 without calibration, and for a budget that cannot be kept; RuntimeError for a graph that fails
    the ladder.

    >>> checkpoint = open_checkpoint(None)  # the shipped weights; a path for yours
    >>> bundle = export_bundle(checkpoint, Path("bundle"))
    >>> bundle.artefacts["fp32"].measured["parity"]["passed"]
    True
    """
    names = _checked_names(default_precisions() if precisions is None else precisions)
    with new_bundle_folder(out, overwrite=overwrite) as folder:
        weights = folder / "model.safetensors"
        save_checkpoint(weights, checkpoint)
        artefacts = {WEIGHTS: Artefact.of(weights), **_write_exact(folder, checkpoint, names)}
        inexact = [name for name in names if name not in artefacts]
        if inexact:
            writer = PrecisionWriter(folder / "fp32.onnx", checkpoint.spec, calibration, ranges_beside(out), progress)
            artefacts |= {name: _write_inexact(folder, name, checkpoint, writer) for name in inexact}
            if crops is None and writer.judge is not None:
                crops = writer.judge.batches
        variant = variant_name(checkpoint.network.config)
        written = Bundle(folder, variant, checkpoint.spec, checkpoint.trained, checkpoint.note, artefacts)
        write_manifest(written)  # the C++ library verifies what it opens by it
        climbed = replace(written, artefacts={**artefacts, **verified(written, crops)})
        bundle = replace(climbed, artefacts={**climbed.artefacts, **(_wholes(climbed) if whole else {})})
        write_manifest(bundle)
        write_card(bundle)
        if web is not None:
            write_page(bundle, web)
    return open_bundle(out)


def default_precisions() -> tuple[str, ...]:
    """What a bundle holds where nobody says what it should: FP32, also for our CPU engine where it can be verified."""
    return ("fp32",) if library_fault(GRAPHS[NATIVE].requires) else ("fp32", NATIVE)


def _checked_names(precisions: Iterable[str]) -> tuple[str, ...]:
    """`fp32` and the precisions asked for, each once; ValueError for those that cannot be written here."""
    names = tuple(dict.fromkeys(("fp32", *precisions)))
    unknown = [name for name in names if name not in PRECISIONS]
    if unknown:
        raise ValueError(f"precisions are {', '.join(unknown)}; this version writes {', '.join(PRECISIONS)}")
    for name in names:
        fault = library_fault(GRAPHS[name].requires)
        if fault:
            raise ValueError(f"{name} cannot be verified here: {fault}")
    return names


def _write_exact(folder: Path, checkpoint: Checkpoint, names: Iterable[str]) -> dict[str, Artefact]:
    """Write `fp32` and the equal forms of FP32 and FP16 among `names`.

    Equal forms of FP16 are written without activation ranges, which are of the plain graph's tensors.
    """
    network, spec, artefacts = checkpoint.network, checkpoint.spec, {}
    for name in (name for name in names if name == "fp32" or GRAPHS[name].equal_form):
        kind, path = GRAPHS[name], folder / f"{name}{GRAPHS[name].suffix}"
        if kind.native:
            write_native(network, path)
            artefacts[name] = _artefact(path, name, {})
            continue
        if kind.fused:
            model = fuse_attention(onnx.load(str(folder / "fp32.onnx")), deploy(network, spec.input_size))
            onnx.save(model, str(path))
        else:
            model = export_network(network, spec.input_size, path, dense_from=kind.dense_from)
        if kind.precision == "fp32":
            artefacts[name] = _artefact(path, name, {"nodes": len(model.graph.node)})
        else:
            artefacts[name] = saved(folder, name, PrecisionWriter(path, spec, None, path).write(kind.precision))
    return artefacts


def _write_inexact(folder: Path, name: str, checkpoint: Checkpoint, writer: PrecisionWriter) -> Artefact:
    """Write what is not an equal form of FP32 or FP16."""
    if not GRAPHS[name].native:
        return saved(folder, name, writer.write(GRAPHS[name].precision))
    path = folder / f"{name}{GRAPHS[name].suffix}"
    return _artefact(path, name, write_native_int8(writer, checkpoint, path))


def _wholes(bundle: Bundle) -> dict[str, Artefact]:
    """Write the graphs from pixels, and from crops, to keypoints; each is checked against the ordinary pipeline."""
    found = {}
    for precision, graphs in write_whole(bundle).items():
        measured = {"px_from_ordinary_path": check_whole(bundle, precision, graphs)}
        for output, path in graphs.items():
            found[path.stem] = Artefact.of(path, precision=precision, output=output, **_facts(path, measured))
    return found


def saved(folder: Path, name: str, written: WrittenGraph) -> Artefact:
    """Check a graph, save it under the name of its artefact, and describe it."""
    path = folder / f"{name}.onnx"
    onnx.checker.check_model(written.model, full_check=True)
    onnx.save(written.model, str(path))
    return _artefact(path, name, {"nodes": len(written.model.graph.node), **written.measured})


def verified(bundle: Bundle, batches: Iterable[LabelledBatch] | None) -> dict[str, Artefact]:
    """The artefacts with the results of the parity ladder; RuntimeError names the first rung that fails."""
    artefacts = {}
    for rung in verify_bundle(bundle, batches):
        if not rung.passed:
            kind = "differs from its network" if rung.artefact.precision == "fp32" else "exceeds its tolerance"
            raise RuntimeError(f"the {rung.name} graph {kind}: {rung.fault}")
        found = bundle.artefacts[rung.name]
        artefacts[rung.name] = replace(found, measured={**found.measured, "parity": rung.facts()})
    return artefacts


def _artefact(path: Path, name: str, measured: Mapping[str, Any]) -> Artefact:
    kind = GRAPHS[name]
    return Artefact.of(path, precision=kind.precision, requires=kind.requires, **_facts(path, measured))


def _facts(path: Path, measured: Mapping[str, Any]) -> dict[str, Any]:
    return {"opset": opset(path) if path.suffix == ".onnx" else None, "tools": tool_versions(), "measured": measured}

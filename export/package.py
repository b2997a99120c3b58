"""From a checkpoint to a bundle: graphs, weights, proof and manifest."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ..model.checkpoint import Checkpoint, save_checkpoint
from ..model.config import variant_name
from ..runtime.bundle import WEIGHTS, Artefact, Bundle, new_bundle_folder, open_bundle, write_manifest
from .graph import OPSET, export_network, tool_versions
from .verify import Crops, random_crops, verify_bundle

log = logging.getLogger(__name__)

PRECISIONS = ("fp32",)


def export_bundle(
    checkpoint: Checkpoint,
    out: Path,
    *,
    precisions: Iterable[str] = PRECISIONS,
    trained: bool = True,
    crops: Iterable[Crops] | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Write a bundle under `out` and return it; nothing is written unless every graph equals the network.

    The proof runs on batches of `crops`, or on noise; its figures stand in the manifest.
    """
    precisions = tuple(precisions)
    unknown = [name for name in precisions if name not in PRECISIONS]
    if unknown or not precisions:
        raise ValueError(f"precisions are {', '.join(precisions) or 'none'}; this version writes {', '.join(PRECISIONS)}")
    with new_bundle_folder(out, overwrite=overwrite) as folder:
        weights, graph = folder / "model.safetensors", folder / "fp32.onnx"
        save_checkpoint(weights, checkpoint)
        model = export_network(checkpoint.network, checkpoint.spec.input_size, graph)
        artefacts = {
            WEIGHTS: Artefact.of(weights),
            "fp32": Artefact.of(graph, opset=OPSET, tools=tool_versions()),
        }
        variant = variant_name(checkpoint.network.config)
        bundle = Bundle(folder, variant, checkpoint.spec, trained, checkpoint.note, artefacts)
        batches = random_crops(checkpoint.spec) if crops is None else crops
        for parity in verify_bundle(bundle, batches):
            if not parity.passed:
                raise RuntimeError(f"the {parity.rung} graph is not the network that it came from: {parity.facts()}")
            measured = {"nodes": len(model.graph.node), "parity": parity.facts()}
            artefacts[parity.rung] = replace(artefacts[parity.rung], measured=measured)
        write_manifest(bundle)
    return open_bundle(out)

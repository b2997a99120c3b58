"""From a checkpoint to a bundle: graphs, weights, proof and manifest."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch

from ..model.checkpoint import DEFAULT_WEIGHTS, Checkpoint, load_checkpoint, save_checkpoint
from ..model.config import DEFAULT_VARIANT, NetworkConfig, variant_name
from ..model.network import create_model
from ..pose.spec import spec_for
from ..runtime.bundle import WEIGHTS, Artefact, Bundle, new_bundle_folder, open_bundle, write_manifest
from .graph import OPSET, export_network, tool_versions
from .verify import Crops, random_crops, verify_bundle

PRECISIONS = ("fp32",)


def open_checkpoint(
    path: Path | None, *, network: str | None = None, joints: int | None = None, untrained: bool = False
) -> Checkpoint:
    """The checkpoint under `path`, or the shipped default, or with `untrained` random weights of the network named."""
    if untrained:
        if path is not None:
            raise ValueError(f"both {path} and untrained weights were asked for; choose one")
        torch.manual_seed(0)
        model = create_model(network or DEFAULT_VARIANT, joints or NetworkConfig.joints).eval()
        return Checkpoint(model, spec_for(model.config.joints), "random weights: the keypoints mean nothing")
    return load_checkpoint(path or DEFAULT_WEIGHTS, network=network, joints=joints)


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
        raise ValueError(
            f"precisions are {', '.join(precisions) or 'none'}; this version writes {', '.join(PRECISIONS)}"
        )
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

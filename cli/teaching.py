"""Teachers for `lehrnet train`: a checkpoint, or a bundle, which may hold a network of another program."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from ..training.teacher import Teacher


def open_teacher(path: Path, device: "torch.device", mixed: bool) -> "Teacher":
    """Open a checkpoint, or a bundle: by its PyTorch weights, or where it was imported, by its FP32 graph."""
    import torch

    from ..runtime.bundle import WEIGHTS, open_bundle
    from ..runtime.session import open_artefact
    from ..training.teacher import Teacher, read_teacher

    if not path.is_dir():
        return read_teacher(path, device, mixed=mixed)
    bundle = open_bundle(path)
    if WEIGHTS in bundle.artefacts:
        return read_teacher(bundle.path(WEIGHTS), device, mixed=mixed, content=bundle.read(WEIGHTS))
    session = open_artefact(bundle, "fp32", "auto" if device.type == "cuda" else "cpu")

    def heatmaps_of(crops: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(crops.cpu().contiguous().numpy())).to(crops.device)

    return Teacher(heatmaps_of, bundle.spec, bundle.artefacts["fp32"].sha256)

"""From data folders to a trained checkpoint: what `lehrnet train` does."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from ..model.checkpoint import load_checkpoint
from ..model.config import DEFAULT_VARIANT
from ..model.network import PoseNetwork, create_model
from ..pose.coco import read_coco
from ..pose.mpii import find_mpii_labels, read_mpii
from ..pose.spec import PoseSpec
from .batches import Batches
from .pack import Pack, read_pack, write_pack
from .recipe import RECIPES, Recipe
from .trainer import STATE, Report, Run, Trainer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What to train, on what, and from where."""

    data: tuple[Path, ...]
    """Data folders, or one pack."""
    recipe: Recipe
    network: str = DEFAULT_VARIANT
    start: Path | None = None
    """A checkpoint to begin from; its network replaces `network`."""
    resume: bool = False


def recipe_named(name: str) -> Recipe:
    """A recipe by its name."""
    if name not in RECIPES:
        raise ValueError(f"no recipe is called {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def pack_folders(folders: Sequence[Path], out: Path, spec: PoseSpec) -> int:
    """Read COCO and MPII folders and pack everyone with keypoints; returns how many."""
    sources = [read_mpii(folder) if find_mpii_labels(folder) else read_coco(folder, spec.joints) for folder in folders]
    return write_pack(out, sources, spec, lambda images: tqdm(images, "packing", unit="image", disable=None))


def train(request: Request, run: Run) -> float:
    """Train to the end of the schedule; returns the best held-out accuracy."""
    resumable = (run.out / STATE).exists()
    if resumable and not request.resume:
        raise FileExistsError(f"{run.out} holds a run already; go on with --resume or choose another folder")
    device = choose_device(run.device)
    torch.manual_seed(run.seed)
    network = _network(request)
    pack = _pack(request, run.out)
    spec = request.recipe.spec
    people = Batches(pack.take(~pack.held_out), spec, device, run.seed)
    held_out = Batches(pack.take(pack.held_out), spec, device, run.seed) if pack.held_out.any() else None
    trainer = Trainer(network, request.recipe, people, held_out, run)
    if request.resume:
        trainer.resume()
    seldom = 0.5 if sys.stderr.isatty() else 60.0  # seconds: a log is no screen
    with tqdm(total=trainer.steps, initial=trainer.step, desc="training", unit="step", mininterval=seldom) as bar:
        return trainer.train(lambda report: _show(bar, report))


def choose_device(name: str) -> torch.device:
    """The device to train on; "auto" takes a GPU where there is one and says so."""
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    device = torch.device(chosen)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(f"device is {name}, but PyTorch sees no GPU; use cpu")
    log.warning("training on %s", device)
    return device


def _network(request: Request) -> PoseNetwork:
    joints = len(request.recipe.spec.joints)
    if request.start is not None:
        return load_checkpoint(request.start, joints=joints).network
    return create_model(request.network, joints)


def _pack(request: Request, out: Path) -> Pack:
    """The pack named, or one of the folders named, kept beside the run."""
    if len(request.data) == 1 and list(request.data[0].glob("pack_*.npz")):
        return read_pack(request.data[0])
    folder = out / "pack"
    if not folder.exists():
        pack_folders(request.data, folder, request.recipe.spec)
    return read_pack(folder)


def _show(bar: tqdm, report: Report) -> None:
    bar.update(report.step - bar.n)
    bar.set_postfix(loss=f"{report.loss:.2e}", rate=f"{report.rate:.1e}", refresh=False)
    if report.accuracy is not None:
        bar.write(f"step {report.step}: held-out accuracy {report.accuracy:.4f}")

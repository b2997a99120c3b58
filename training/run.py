"""From data folders to a trained checkpoint: what `lehrnet train` does."""

import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm

from ..model.checkpoint import load_checkpoint
from ..model.config import DEFAULT_VARIANT, variant
from ..model.device import choose_device
from ..model.grow import with_attention
from ..model.network import PoseNetwork, create_model
from ..pose.coco import read_coco
from ..pose.data import PoseData
from ..pose.mpii import find_mpii_labels, read_mpii
from ..pose.spec import PoseSpec
from .batches import Batches
from .pack import Pack, read_pack, write_pack
from .processes import Processes, processes
from .recipe import RECIPES, Recipe
from .trainer import STATE, Report, Run, Trainer
from .validate import FIGURE

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What to train, on what, and from where."""

    data: tuple[Path, ...]
    """Data folders, or one pack."""
    recipe: Recipe
    network: str | None = None
    """A variant; if absent, that of `start`, or the default."""
    start: Path | None = None
    """A checkpoint to begin from: of `network`, or of the same network without EMA, which then grows it."""
    mix: Mapping[str, float] = field(default_factory=dict)
    """How often an epoch shows the people of a folder, by its name; 1 for the others."""
    resume: bool = False
    tensorboard: bool = False


def recipe_named(name: str) -> Recipe:
    """A recipe by its name."""
    if name not in RECIPES:
        raise ValueError(f"no recipe is called {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def pack_folders(folders: Sequence[Path], out: Path, spec: PoseSpec) -> int:
    """Read COCO and MPII folders and pack everyone with keypoints; returns how many."""
    names = [folder.resolve().name for folder in folders]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"two of the data folders are called {repeated[0]!r}: a pack tells them apart by their names")
    sources = {name: _read(folder, spec) for name, folder in zip(names, folders, strict=True)}
    return write_pack(out, sources, spec, lambda images: tqdm(images, "packing", unit="image", disable=None))


def train(request: Request, run: Run) -> float:
    """Train to the end of the schedule; returns the best held-out AP. Under torchrun, one of its processes."""
    resumable = (run.out / STATE).exists()
    if resumable and not request.resume:
        raise FileExistsError(f"{run.out} holds a run already; go on with --resume or choose another folder")
    kind = choose_device(run.device).type
    with processes("nccl" if kind == "cuda" else "gloo") as team:
        device = torch.device(kind, team.local_rank) if team.count > 1 and kind == "cuda" else choose_device(run.device)
        if team.first:
            log.warning("training on %s%s", device, f" and {team.count - 1} like it" if team.count > 1 else "")
        trainer = _trainer(request, run, device, team)
        if request.resume:
            trainer.resume()
        return _watched(trainer, request)


def _trainer(request: Request, run: Run, device: torch.device, team: Processes) -> Trainer:
    torch.manual_seed(run.seed)  # the same first weights in every process
    network = _network(request)
    pack = _pack(request, run.out, team)
    spec = request.recipe.spec
    people = Batches(pack.take(~pack.held_out), spec, device, seed=run.seed, mix=request.mix)
    held_out = Batches(pack.take(pack.held_out), spec, device, seed=run.seed) if pack.held_out.any() else None
    return Trainer(network, request.recipe, people, held_out, run, processes=team)


def _watched(trainer: Trainer, request: Request) -> float:
    """Train behind a progress bar, and a TensorBoard where asked."""
    if not trainer.processes.first:
        return trainer.train()
    board = None
    if request.tensorboard:
        from .board import Board  # noqa: PLC0415 - an extra

        board = Board(trainer)
    seldom = 0.5 if sys.stderr.isatty() else 60.0  # seconds: a log is no screen
    with tqdm(total=trainer.steps, initial=trainer.step, desc="training", unit="step", mininterval=seldom) as bar:

        def watch(report: Report) -> None:
            _show(bar, report)
            if board is not None:
                board.show(report)

        return trainer.train(watch)


def _network(request: Request) -> PoseNetwork:
    """A new network, or the one to begin from."""
    joints = len(request.recipe.spec.joints)
    if request.start is None:
        return create_model(request.network or DEFAULT_VARIANT, joints)
    network = load_checkpoint(request.start, joints=joints).network
    wanted = variant(request.network, joints) if request.network else network.config
    if network.config == wanted:
        return network
    if not network.config.attention and wanted.attention:
        grown = with_attention(network)
        if grown.config == wanted:
            log.warning("%s has no EMA: it grows one, which changes nothing until it learns", request.start)
            return grown
    raise ValueError(f"{request.start} does not hold a {request.network}: its config is {network.config}")


def _read(folder: Path, spec: PoseSpec) -> PoseData:
    return read_mpii(folder) if find_mpii_labels(folder) else read_coco(folder, spec.joints)


def _pack(request: Request, out: Path, team: Processes) -> Pack:
    """The pack named, or one of the folders named, kept beside the run."""
    if len(request.data) == 1 and list(request.data[0].glob("pack_*.npz")):
        return read_pack(request.data[0])
    folder = out / "pack"
    if team.first and not folder.exists():
        pack_folders(request.data, folder, request.recipe.spec)
    team.wait()
    return read_pack(folder)


def _show(bar: tqdm, report: Report) -> None:
    bar.update(report.step - bar.n)
    bar.set_postfix(loss=f"{report.loss:.2e}", rate=f"{report.rate:.1e}", refresh=False)
    if report.figures is not None:
        bar.write(f"step {report.step}: held-out {FIGURE} {report.figures[FIGURE]:.4f}")

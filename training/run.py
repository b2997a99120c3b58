"""Training from data folders or a pack to a checkpoint: the implementation of `lehrnet train`."""

import logging
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from tqdm import tqdm

from ..files import locked, refuse_inputs, remove_unfinished
from ..model.checkpoint import Checkpoint, describes_itself, load_checkpoint
from ..model.config import DEFAULT_VARIANT, variant
from ..model.device import choose_device
from ..model.grow import with_ema
from ..model.network import PoseNetwork, create_model
from ..model.weight_files import read_content
from ..pose.data import PoseData
from ..pose.labels import read_people
from ..pose.skeleton import Skeleton
from ..pose.spec import PoseSpec
from .batches import Batches
from .pack import Pack, Packed, read_pack, stored_size, write_pack
from .processes import Processes, processes
from .recipe import RECIPES, Recipe
from .teacher import Teacher
from .trainer import BEST, LAST, LOG, STATE, Report, Run, Trainer
from .validate import FIGURE

log = logging.getLogger(__name__)

MAX_SHARE = 1000  # repetitions of a folder's people in an epoch
PACK = "pack"


@dataclass(frozen=True)
class Request:
    """A training job: data, network and initial weights."""

    data: tuple[Path, ...]
    """Data folders, or a single pack."""
    recipe: Recipe
    """Its skeleton is that of packs which do not say theirs, and of label files without categories."""
    network: str | None = None
    """A variant; None: that of `start`, else the default."""
    start: Path | None = None
    """Initial checkpoint: of `network`, or of the same network without EMA, to which EMA is then added."""
    mix: Mapping[str, float] = field(default_factory=dict)
    """Repetitions of a folder's people per epoch, by folder name; 1 for the others."""
    split: str | None = None
    """Split of the data folders; None: the one whose name begins with "train"."""
    skeleton: Skeleton | None = None
    """None: that of the data."""
    teacher: Callable[[torch.device, bool], Teacher] | None = None
    """Opens the teacher of a recipe with a share of `teach`: on a device, and in mixed precision or not."""
    resume: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name, share in self.mix.items():
            if not 0 <= share <= MAX_SHARE:
                raise ValueError(f"the mix shows {name!r} {share} times, expected 0 to {MAX_SHARE}")


def recipe_named(name: str) -> Recipe:
    """A recipe by its name."""
    if name not in RECIPES:
        raise ValueError(f"no recipe is called {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def pack_folders(
    folders: Sequence[Path], out: Path, spec: PoseSpec, split: str | None = None, skeleton: Skeleton | None = None
) -> Packed:
    """Pack the people with keypoints of COCO and MPII folders, from the training split or the named one.

    Their skeleton is `skeleton`, or else that of the folders' label files, which must have the same joints.
    """
    names = [folder.resolve().name for folder in folders]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"two data folders are called {repeated[0]!r}, but a pack distinguishes them by name")
    if skeleton is not None:
        spec = replace(spec, skeleton=skeleton)
    sources = {
        name: read_people(folder, spec, split=split, purpose="train", own_skeleton=skeleton is None)
        for name, folder in zip(names, folders, strict=True)
    }
    spec = replace(spec, skeleton=_one_skeleton(sources))
    return write_pack(out, sources, spec, lambda images: tqdm(images, "packing", unit="image", disable=None))


def _one_skeleton(sources: Mapping[str, PoseData]) -> Skeleton:
    """The skeleton of the first folder; ValueError where another one has other joints."""
    (first, *_), skeletons = sources, [people.skeleton for people in sources.values()]
    for name, skeleton in zip(sources, skeletons, strict=True):
        if skeleton.joints != skeletons[0].joints:
            raise ValueError(
                f"{first} has the joints of {skeletons[0].name}, but {name} those of {skeleton.name}: train on one set"
            )
    return skeletons[0]


def train(request: Request, run: Run) -> float:
    """Train to the end of the schedule and return the best held-out AP; under torchrun, as one of its processes.

    The run's folder is locked: FileExistsError names a process that is already using it.
    """
    refuse_inputs({f"--out {name}": run.out / name for name in (LAST, BEST)}, [request.start])
    kind = choose_device(run.device).type
    with processes("nccl" if kind == "cuda" else "gloo") as team:
        device = torch.device(kind, team.local_rank) if team.count > 1 and kind == "cuda" else choose_device(run.device)
        with locked(run.out) if team.first else nullcontext():
            if team.first:
                _take_over(run.out, resume=request.resume)
                log.warning("training on %s%s", device, f" and {team.count - 1} like it" if team.count > 1 else "")
            trainer = _trainer(request, run, device, team)
            if request.resume:
                trainer.resume()
            return _watched(trainer, request)


def _take_over(out: Path, *, resume: bool) -> None:
    """Raise FileExistsError if a new run would overwrite files; remove unfinished files of killed runs."""
    if not resume and (out / STATE).exists():
        raise FileExistsError(f"{out} holds a run already; go on with --resume or choose another folder")
    others = [name for name in (LAST, BEST, LOG) if (out / name).exists()]
    if not resume and others:
        raise FileExistsError(f"{out} holds {others[0]} of another run, without its state; choose another folder")
    if resume and not (out / STATE).is_file():
        raise FileNotFoundError(f"nothing to resume: no {out / STATE}")
    remove_unfinished(out / name for name in (STATE, LAST, BEST, LOG, PACK))


def _trainer(request: Request, run: Run, device: torch.device, team: Processes) -> Trainer:
    torch.manual_seed(run.seed)  # the same initial weights in every process
    start = None if request.start is None else _started(request, request.start)  # before a long packing
    pack = _pack(request, run.out, team)
    spec = replace(request.recipe.spec, skeleton=_skeleton(request, pack))
    network = _network(request, start, spec.skeleton)
    people = Batches(pack.take(~pack.held_out), spec, device, seed=run.seed, mix=request.mix)
    held_out = Batches(pack.take(pack.held_out), spec, device, seed=run.seed) if pack.held_out.any() else None
    teacher = None if request.teacher is None else request.teacher(device, run.in_bf16(device))
    return Trainer(network, replace(request.recipe, spec=spec), people, held_out, run, processes=team, teacher=teacher)


def _watched(trainer: Trainer, request: Request) -> float:
    """Train with a progress bar and, if asked for, TensorBoard."""
    if not trainer.processes.first:
        return trainer.train()
    board = None
    if request.tensorboard:
        from .board import Board  # noqa: PLC0415 - an extra

        board = Board(trainer)
    interval = 0.5 if sys.stderr.isatty() else 60.0  # seconds; rarely in a log file
    with tqdm(total=trainer.steps, initial=trainer.step, desc="training", unit="step", mininterval=interval) as bar:

        def watch(report: Report) -> None:
            _show(bar, report)
            if board is not None:
                board.show(report)

        return trainer.train(watch)


def _started(request: Request, path: Path) -> Checkpoint:
    """The initial checkpoint."""
    content = read_content(path, "checkpoint")
    # Only a plain state dict does not record its network.
    said = {"network": request.network, "size": request.recipe.spec.input_size, "skeleton": request.skeleton}
    told = {} if describes_itself(path, content) else said
    return load_checkpoint(path, content=content, **told)


def _skeleton(request: Request, pack: Pack) -> Skeleton:
    """The joints to learn: those that were named, else the pack's; they must be the same."""
    named, packed = request.skeleton, pack.skeleton
    if named is not None and packed is not None and named.joints != packed.joints:
        raise ValueError(f"the pack has the joints of {packed.name}, which are not those of {named.name}")
    skeleton = named or packed or request.recipe.spec.skeleton
    if skeleton.oks_note:
        log.warning("%s", skeleton.oks_note)
    return skeleton


def _network(request: Request, start: Checkpoint | None, skeleton: Skeleton) -> PoseNetwork:
    """A new network, or that of the initial checkpoint."""
    joints = len(skeleton)
    if start is None:
        return create_model(request.network or DEFAULT_VARIANT, joints)
    network = start.network
    if start.spec.skeleton.joints != skeleton.joints:
        raise ValueError(
            f"{request.start} has the {network.config.joints} joints of {start.spec.skeleton.name}, but the data "
            f"the {joints} of {skeleton.name}"
        )
    wanted = variant(request.network, joints) if request.network else network.config
    if network.config == wanted:
        return network
    if not network.config.attention and wanted.attention:
        grown = with_ema(network)
        if grown.config == wanted:
            log.warning("%s has no EMA: it is added, and leaves the outputs unchanged at first", request.start)
            return grown
    raise ValueError(f"{request.start} does not hold a {request.network}: its config is {network.config}")


def _pack(request: Request, out: Path, team: Processes) -> Pack:
    """The given pack, or one made of the given folders and kept beside the run."""
    if len(request.data) == 1 and list(request.data[0].glob("pack_*.npz")):
        return read_pack(request.data[0])
    folder, spec = out / PACK, request.recipe.spec
    if team.first and not folder.exists():
        pack_folders(request.data, folder, spec, request.split, request.skeleton)
    team.wait()
    pack = read_pack(folder)
    names = {each.resolve().name for each in request.data}
    if pack.size != stored_size(spec) or not set(pack.sources.tolist()) <= names:
        raise ValueError(f"{folder} was packed from other folders or for another --size; remove it, or name its own")
    return pack


def _show(bar: tqdm, report: Report) -> None:
    bar.update(report.step - bar.n)
    bar.set_postfix(loss=f"{report.loss:.2e}", rate=f"{report.rate:.1e}", refresh=False)
    if report.figures is not None:
        bar.write(f"step {report.step}: held-out {FIGURE} {report.figures[FIGURE]:.4f}")

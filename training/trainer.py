"""The training loop: resumable at any moment, bounded by time where asked, and stopped by the first NaN."""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..files import atomic_file, write_text
from ..model.checkpoint import Checkpoint, save_checkpoint
from ..model.config import NetworkConfig
from ..model.network import PoseNetwork
from ..parsing import parse, printable
from ..pose.metrics import for_json
from .batches import Batch, Batches
from .fused_blocks import fuse
from .loss import heatmap_loss, taught_loss
from .processes import Processes
from .recipe import Recipe, is_whole
from .state import naming_state, read_state
from .teacher import Teacher
from .validate import FIGURE, MIN_SCORE, held_out_metrics

STATE, LAST, BEST, LOG = "state.pt", "last.safetensors", "best.safetensors", "log.jsonl"
LARGEST_SEED = 2**63 - 1  # torch's


@dataclass(frozen=True)
class Run:
    """Where a training happens and how long it may take; of what it says only the seed changes what is learnt.

    And, slightly, `accumulate`: BatchNorm sees the people of one piece at a time.
    """

    out: Path
    seed: int = 0
    device: str = "cpu"
    time_budget_s: float | None = None
    """The schedule then ends at this many seconds, or after the recipe's epochs if that is sooner."""
    accumulate: int = 1
    """Pieces that a process divides its share of a step's batch into; their gradients are averaged."""
    bf16: bool | None = None
    """Autocast to bfloat16; None: on a GPU only."""
    compiled: bool = False
    """Run the network through torch.compile: minutes before the first step, then faster on a GPU."""
    fused_ops: bool = True
    """On a CPU with a C++ compiler, EMA and BatchNorm as operators of ours; the numbers stay, to rounding."""
    save_every: int = 200
    """Steps between saved states: what a kill can cost."""
    validate_every: int = 500
    """Steps."""

    def __post_init__(self) -> None:
        if not is_whole(self.seed, 0) or self.seed > LARGEST_SEED:
            raise ValueError(f"seed is {self.seed}, expected a whole number from 0 to {LARGEST_SEED}")
        if self.time_budget_s is not None and not 0 < self.time_budget_s < math.inf:
            raise ValueError(f"the time budget is {self.time_budget_s} seconds, expected a finite number above 0")
        for name in ("accumulate", "save_every", "validate_every"):
            if not is_whole(getattr(self, name), 1):
                raise ValueError(f"{name} is {getattr(self, name)}, expected a whole number from 1")

    def in_bf16(self, device: torch.device) -> bool:
        """Whether the network is run in bfloat16 on a device."""
        return device.type == "cuda" if self.bf16 is None else self.bf16


@dataclass(frozen=True)
class Report:
    """The state of a training, for a progress bar and the log."""

    step: int
    progress: float
    loss: float
    rate: float
    people_per_second: float
    figures: dict[str, float] | None = None
    """COCO's of the held-out people, where this step was followed by a validation."""


class Trainer:
    """One network, its optimizer and its place in the schedule.

    >>> pack = read_pack(Path("packed"))  # written by `lehrnet pack`
    >>> recipe = replace(RECIPES["quick"], epochs=1, batch=2)
    >>> people = Batches(pack, recipe.spec, torch.device("cpu"))
    >>> best = Trainer(create_model(), recipe, people, None, Run(Path("run"))).train()  # held-out AP; -1 without any
    """

    def __init__(
        self,
        network: PoseNetwork,
        recipe: Recipe,
        people: Batches,
        held_out: Batches | None,
        run: Run,
        *,
        processes: Processes | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        self.recipe, self.people, self.held_out, self.run = recipe, people, held_out, run
        self.processes, self.teacher = processes or Processes(), teacher
        if (teacher is None) != (recipe.teach == 0):
            raise ValueError(
                f"the recipe's teach is {recipe.teach}, but there is {'no' if teacher is None else 'a'} teacher"
            )
        self._lesson = None if teacher is None else teacher.lesson(recipe.spec)
        self.device = people.device
        pieces = self.processes.count * run.accumulate
        if recipe.batch % pieces:
            raise ValueError(
                f"a batch of {recipe.batch} does not divide into {pieces} pieces "
                f"({self.processes.count} processes, {run.accumulate} pieces each)"
            )
        if people.epoch_people < recipe.batch:
            raise ValueError(f"an epoch has {people.epoch_people} people, fewer than a batch of {recipe.batch}")
        self.network = network.to(self.device).to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue]
        fused = run.fused_ops and self.device.type == "cpu" and not run.compiled and fuse(self.network)
        self._parallel = DistributedDataParallel(network) if self.processes.count > 1 else None
        wrapped = self._parallel or self.network
        self._forward = torch.compile(wrapped) if run.compiled else wrapped
        self.optimizer = _optimizer(network, recipe, fused=fused)
        self.average = None
        if recipe.average:
            self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.average), use_buffers=True)
        self.steps = recipe.epochs * (people.epoch_people // recipe.batch)
        self.step, self.elapsed_s, self.best = 0, 0.0, -1.0

    def train(self, watch: Callable[[Report], None] = lambda _: None) -> float:
        """Train to the end of the schedule; returns the best held-out AP (-1 without held-out people)."""
        self.run.out.mkdir(parents=True, exist_ok=True)
        if self.processes.first:
            if not self.step:
                self._save_state()  # from here on a kill can be resumed, before it nothing stands there
                self._save(None)
            _cut_log(self.run.out / LOG, self.step)
        for report in self._steps():
            watch(report)
        return self.best

    def resume(self) -> None:
        """Go on from the last saved state of the run; ValueError where it was trained in another way."""
        path = self.run.out / STATE
        if not path.is_file():
            raise FileNotFoundError(f"nothing to resume: no {path}")
        state = read_state(path)
        then, now = _completed(state.identity), json.loads(self._identity())
        changed = [f"{key} was {_shown(then.get(key))}, now {now[key]}" for key in now if then.get(key) != now[key]]
        if changed:
            raise ValueError(f"{path} is of another run: {'; '.join(changed)}; resume it as it began")
        with naming_state(path):
            state.check(self.network, self.optimizer, self.average, self.steps)
        self.network.load_state_dict(state.network)
        # Its settings are this run's own, which the identity says are the same.
        settings = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state.optimizer["state"], "param_groups": settings})
        if self.average is not None:
            self.average.load_state_dict(state.average)
        self.step, self.elapsed_s, self.best = state.step, state.elapsed_s, state.best

    @property
    def progress(self) -> float:
        """Share of the schedule that is done, by steps or by time, whichever is further."""
        by_time = self.elapsed_s / self.run.time_budget_s if self.run.time_budget_s else 0.0
        return min(1.0, max(self.step / self.steps, by_time))

    @property
    def kept(self) -> PoseNetwork:
        """The network that is validated and kept: the average where there is one."""
        kept = self.network if self.average is None else self.average.module
        assert isinstance(kept, PoseNetwork)
        return kept

    @torch.inference_mode()
    def heatmaps(self, crops: Tensor) -> Tensor:
        """Heatmaps (N, K, h, w) of the kept network, as it stands."""
        with self._mixed_precision():
            found = self.kept.eval()(crops).float()
        self.network.train()
        return found

    def _steps(self) -> Iterator[Report]:
        started = time.monotonic() - self.elapsed_s
        while self.progress < 1:
            before, rate = self.elapsed_s, self.recipe.rate(self.progress)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            share, shares = self.processes.rank, self.processes.count
            loss = self._learn(
                self.people.of_step(self.step, self.recipe.batch, self.recipe.augmentation, share, shares)
            )
            self.step += 1
            self.elapsed_s = self.processes.agree(time.monotonic() - started, self.device)
            speed = self.recipe.batch / (self.elapsed_s - before)
            ended = self.progress >= 1
            figures = self._validate() if ended or self.step % self.run.validate_every == 0 else None
            report = Report(self.step, self.progress, loss, rate, speed, figures)
            if self.processes.first:
                self._log(report)  # before the state: what a kill leaves too many, `_cut_log` drops
                if ended or figures is not None or self.step % self.run.save_every == 0:
                    self._save(figures)
            yield report

    def _learn(self, batch: Batch) -> float:
        """One step of the optimizer on this process's share of a batch; returns the share's loss."""
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for number, piece in enumerate(batch.split(self.run.accumulate), 1):
            with self._synchronized(number == self.run.accumulate):
                with self._mixed_precision():
                    found = self._forward(piece.crops.contiguous(memory_format=torch.channels_last))
                loss = self._loss(found, piece) / self.run.accumulate
                loss.backward()
            total += loss.detach()
        value = float(total)
        if not value < float("inf"):
            path = self.run.out / f"nan_at_step_{self.step}.pt"
            with atomic_file(path) as unfinished:
                torch.save({"crops": batch.crops, "heatmaps": batch.heatmaps, "weights": batch.weights}, unfinished)
            raise RuntimeError(f"the loss is {value} at step {self.step}; its batch is kept in {path}")
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        return value

    def _loss(self, found: Tensor, piece: Batch) -> Tensor:
        loss = heatmap_loss(found, piece.heatmaps, piece.weights, self.recipe.peak)
        if self._lesson is None:
            return loss
        return taught_loss(loss, found, *self._lesson(piece.crops), self.recipe.teach)

    def _synchronized(self, last: bool) -> AbstractContextManager[Any]:
        """Processes exchange gradients once a step: at its last piece."""
        return nullcontext() if self._parallel is None or last else self._parallel.no_sync()

    def _mixed_precision(self) -> AbstractContextManager[Any]:
        mixed = self.run.in_bf16(self.device)
        return torch.autocast(self.device.type, torch.bfloat16) if mixed else nullcontext()

    def _validate(self) -> dict[str, float] | None:
        if self.held_out is None:
            return None
        return held_out_metrics(self.heatmaps, self.held_out, max(32, self.recipe.batch), self.processes)

    def _identity(self) -> str:
        """What must be the same when a run is resumed."""
        recipe, network = asdict(self.recipe), asdict(self.network.config)
        taught = {} if self.teacher is None else {"teacher": self.teacher.digest}
        return json.dumps({**recipe, **network, **taught, "seed": self.run.seed, "people": self.people.epoch_people})

    def _save(self, figures: dict[str, float] | None) -> None:
        """Write the state last: a run that is killed before comes here again and writes the same."""
        found = figures[FIGURE] if figures else -1.0
        better = found > self.best
        self.best = max(self.best, found)
        note = f"step {self.step} of {self.steps}" + (f", held-out {FIGURE} {found:.4f}" if figures else "")
        spec = self.recipe.spec
        if figures and not math.isnan(figures[MIN_SCORE]):
            spec = replace(spec, min_score=round(figures[MIN_SCORE], 3))
        save_checkpoint(self.run.out / LAST, Checkpoint(self.kept, spec, note))
        if better:
            save_checkpoint(self.run.out / BEST, Checkpoint(self.kept, spec, note))
        self._save_state()

    def _save_state(self) -> None:
        state = {
            "identity": self._identity(),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict() if self.average is not None else {},
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "best": self.best,
        }
        with atomic_file(self.run.out / STATE) as unfinished:
            torch.save(state, unfinished)

    def _log(self, report: Report) -> None:
        facts = {**asdict(report), "figures": for_json(report.figures) if report.figures else None}
        with (self.run.out / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")


def _optimizer(network: nn.Module, recipe: Recipe, *, fused: bool) -> torch.optim.Optimizer:
    """Adam, or AdamW where weights decay; norms and biases never do.

    `fused` is PyTorch's one pass over each parameter: the same numbers to rounding, and the same state.
    """
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW if recipe.weight_decay else torch.optim.Adam
    return optimizer(groups, lr=recipe.learning_rate, fused=fused or None)


def _completed(identity: Mapping[str, Any]) -> Mapping[str, Any]:
    """The identity of a run that an earlier version began: settings that it did not have are the defaults."""
    try:
        recipe, network = asdict(parse(Recipe, identity)), asdict(parse(NetworkConfig, identity))
    except ValueError:
        return identity
    return {**identity, **json.loads(json.dumps({**recipe, **network}))}


def _shown(value: Any) -> str:
    """A value of a file, short and harmless."""
    return printable(str(value))[:100]


def _cut_log(path: Path, step: int) -> None:
    """Drop the lines of steps that a resumed run takes again; the last one may be half written."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)[:step] if path.exists() else []
    write_text(path, "".join(lines))

"""The training loop: resumable at any moment, bounded by time where asked, and stopped by the first NaN."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..model.checkpoint import Checkpoint, save_checkpoint
from ..model.network import PoseNetwork
from ..pose.files import replacing
from .batches import Batch, Batches
from .loss import heatmap_loss
from .recipe import Recipe
from .validate import held_out_accuracy

STATE, LAST, BEST, LOG = "state.pt", "last.safetensors", "best.safetensors", "log.jsonl"


@dataclass(frozen=True)
class Run:
    """Where a training happens and how long it may take; nothing that changes what is learnt, except the seed."""

    out: Path
    seed: int = 0
    device: str = "cpu"
    time_budget_s: float | None = None
    """The schedule then ends at this many seconds, or after the recipe's epochs if that is sooner."""
    save_every: int = 200
    """Steps between saved states: what a kill can cost."""
    validate_every: int = 500
    """Steps."""


@dataclass(frozen=True)
class Report:
    """The state of a training, for a progress bar and the log."""

    step: int
    progress: float
    loss: float
    rate: float
    accuracy: float | None = None


class Trainer:
    """One network, its optimiser and its place in the schedule."""

    def __init__(
        self, network: PoseNetwork, recipe: Recipe, people: Batches, held_out: Batches | None, run: Run
    ) -> None:
        self.recipe, self.people, self.held_out, self.run = recipe, people, held_out, run
        self.device = people.device
        self.network = network.to(self.device).to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue]
        decayed = [p for p in network.parameters() if p.ndim > 1]
        others = [p for p in network.parameters() if p.ndim <= 1]  # norms and biases are not decayed
        groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimiser = torch.optim.AdamW if recipe.weight_decay else torch.optim.Adam
        self.optimiser = optimiser(groups, lr=recipe.learning_rate)
        self.average = None
        if recipe.average:
            self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.average), use_buffers=True)
        self.steps = recipe.epochs * max(1, len(people.pack) // recipe.batch)
        self.step, self.elapsed_s, self.best = 0, 0.0, -1.0

    def train(self, watch: Callable[[Report], None] = lambda _: None) -> float:
        """Train to the end of the schedule; returns the best held-out accuracy (-1 without held-out people)."""
        self.run.out.mkdir(parents=True, exist_ok=True)
        for report in self._steps():
            watch(report)
        self._save(self._accuracy())
        return self.best

    def resume(self) -> None:
        """Go on from the last saved state of the run."""
        path = self.run.out / STATE
        if not path.is_file():
            raise FileNotFoundError(f"nothing to resume: no {path}")
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.step, self.elapsed_s, self.best = state["step"], state["elapsed_s"], state["best"]

    @property
    def progress(self) -> float:
        """Share of the schedule that is done, by steps or by time, whichever is further."""
        by_time = self.elapsed_s / self.run.time_budget_s if self.run.time_budget_s else 0.0
        return min(1.0, max(self.step / self.steps, by_time))

    def _steps(self) -> Iterator[Report]:
        started = time.monotonic() - self.elapsed_s
        while self.progress < 1:
            rate = self.recipe.rate(self.progress)
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            loss = self._learn(self.people.of_step(self.step, self.recipe.batch, self.recipe.augmentation))
            self.step += 1
            self.elapsed_s = time.monotonic() - started
            accuracy = self._accuracy() if self.step % self.run.validate_every == 0 else None
            if accuracy is not None or self.step % self.run.save_every == 0:
                self._save(accuracy)
            report = Report(self.step, self.progress, loss, rate, accuracy)
            self._log(report)
            yield report

    def _learn(self, batch: Batch) -> float:
        with self._mixed_precision():
            found = self.network(batch.crops.contiguous(memory_format=torch.channels_last))
        loss = heatmap_loss(found, batch.heatmaps, batch.weights)
        value = float(loss.detach())
        if not value < float("inf"):
            path = self.run.out / f"nan_at_step_{self.step}.pt"
            torch.save({"crops": batch.crops, "heatmaps": batch.heatmaps, "weights": batch.weights}, path)
            raise RuntimeError(f"the loss is {value} at step {self.step}; its batch is kept in {path}")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        return value

    def _mixed_precision(self) -> AbstractContextManager[Any]:
        return torch.autocast("cuda", torch.bfloat16) if self.device.type == "cuda" else nullcontext()

    def _kept(self) -> PoseNetwork:
        """The network that is validated and kept: the average where there is one."""
        kept = self.network if self.average is None else self.average.module
        assert isinstance(kept, PoseNetwork)
        return kept

    def _accuracy(self) -> float | None:
        if self.held_out is None:
            return None
        kept = self._kept().eval()
        with self._mixed_precision():
            accuracy = held_out_accuracy(kept, self.held_out, max(32, self.recipe.batch))
        self.network.train()
        return accuracy

    def _save(self, accuracy: float | None) -> None:
        """Write the state first: whatever is killed after it can be resumed."""
        better = accuracy is not None and accuracy > self.best
        self.best = accuracy if accuracy is not None and better else self.best
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict() if self.average is not None else {},
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "best": self.best,
        }
        with replacing(self.run.out / STATE) as unfinished:
            torch.save(state, unfinished)
        note = f"step {self.step} of {self.steps}, held-out accuracy {accuracy}"
        save_checkpoint(self.run.out / LAST, Checkpoint(self._kept(), self.recipe.spec, note))
        if better:
            save_checkpoint(self.run.out / BEST, Checkpoint(self._kept(), self.recipe.spec, note))

    def _log(self, report: Report) -> None:
        line = json.dumps({"step": report.step, "loss": report.loss, "rate": report.rate, "accuracy": report.accuracy})
        with (self.run.out / LOG).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

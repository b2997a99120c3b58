"""The parity ladder: every graph of a bundle (a rung) is compared with PyTorch on the same crops."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from ..calibration.budget import Budget, Int8Choice
from ..parsing import parse
from ..pose.batches import LabelledBatch, labelled_batches, unlabelled
from ..pose.drift import Comparison, Drift
from ..pose.labels import read_people
from ..pose.spec import PoseSpec
from ..runtime.backends.library_path import library_fault
from ..runtime.bundle import WEIGHTS, Artefact, Bundle
from ..runtime.session import Session, open_artefact
from .parity import Parity, heatmap_parity, total

log = logging.getLogger(__name__)

BATCHES = (1, 2, 7)
HALF_TOLERANCE = 0.02  # of the heatmaps' range: FP16 has 11 bits, and a network adds up many roundings
INT8_TOLERANCE = 0.01  # mean difference as a share of the range, used where no budget applies


@dataclass(frozen=True)
class Rung:
    """The comparison of one graph of a bundle with the PyTorch network."""

    parity: Parity
    drift: Drift
    artefact: Artefact
    noise: bool = False
    """Whether the crops are noise, whose keypoints mean nothing, so that no budget applies."""

    @classmethod
    def of(cls, artefact: Artefact) -> "Rung | None":
        """Read the rung from an artefact's `measured`; None if it was not verified."""
        facts = artefact.measured.get("parity")
        if facts is None:
            return None
        return cls(parse(Parity, facts), parse(Drift, facts["drift"], "drift"), artefact, facts.get("noise", False))

    @property
    def name(self) -> str:
        return self.parity.rung

    @property
    def fault(self) -> str:
        """Why this graph should not be used; empty if it passed."""
        drift, parity = self.drift, self.parity
        if self.artefact.precision == "fp32":
            if parity.passed:
                return ""
            return f"heatmaps differ by {parity.heatmap_difference:.2g}, points by {parity.drift_px:.2g} crop px"
        if not self.artefact.precision.startswith("int8"):
            close = drift.heatmap_max <= HALF_TOLERANCE * drift.heatmap_range
            return "" if close else f"heatmaps differ by {drift.heatmap_max:.2g} of {drift.heatmap_range:.2g}"
        return self._over_budget()

    def _over_budget(self) -> str:
        choice = Int8Choice.of(self.artefact.measured)
        budget = None if choice is None else choice.budget
        if budget is not None and self.drift.ap_drop is None and budget.ap is not None:
            budget = None if budget.oks is None else Budget(oks=budget.oks)  # there are no labels here
        if budget is None or self.noise:
            close = self.drift.heatmap_mean <= INT8_TOLERANCE * self.drift.heatmap_range
            return "" if close else f"heatmaps differ by {self.drift.heatmap_mean:.2g} on average"
        if not budget.broken_by(self.drift):
            return ""
        ap = "" if self.drift.ap_drop is None else f", AP by {self.drift.ap_drop:.4f}"
        return f"OKS drops by {self.drift.oks_drop:.4f}{ap}; the budget is {budget}"

    @property
    def passed(self) -> bool:
        return not self.fault

    def facts(self) -> dict[str, Any]:
        """For the manifest and for --json."""
        exact = self.parity.facts()
        return {
            **exact,
            "noise": self.noise,
            "precision": self.artefact.precision,
            "drift": self.drift.facts(),
            "fault": self.fault,
            "passed": self.passed,
        }


def rungs_of(bundle: Bundle) -> list[Rung]:
    """The rungs stored in a bundle when it was written."""
    return [rung for artefact in bundle.artefacts.values() if (rung := Rung.of(artefact)) is not None]


def verify_bundle(bundle: Bundle, batches: Iterable[LabelledBatch] | None = None) -> list[Rung]:
    """Compare every graph of a bundle with the bundle's PyTorch weights, on `batches` or on noise; FP32 first.

    An imported bundle has no weights, and is compared with its own FP32 graph.
    Graphs that no CPU runs are left out: BF16, engines, TensorRT's plugin. ValueError names a rung with NaN heatmaps.
    """
    reference = open_artefact(bundle, WEIGHTS if WEIGHTS in bundle.artefacts else "fp32", "cpu")
    graphs = {name: artefact for name, artefact in bundle.artefacts.items() if name != WEIGHTS and artefact.runs_on_cpu}
    names = sorted(graphs, key=lambda name: name != "fp32")
    for name in list(names):
        fault = library_fault(graphs[name].requires)
        if fault:
            log.warning("%s is not verified here: %s", name, fault)
            names.remove(name)
    rungs = {name: open_artefact(bundle, name, "cpu") for name in names}
    noise = batches is None
    found = compare(reference, rungs, random_crops(bundle.spec) if batches is None else batches, bundle.spec)
    return [Rung(*found[name], bundle.artefacts[name], noise) for name in names]


def compare(
    reference: Session, rungs: dict[str, Session], batches: Iterable[LabelledBatch], spec: PoseSpec
) -> dict[str, tuple[Parity, Drift]]:
    """Run every batch through the reference and through each rung; parity and drift by the rung's name."""
    parts: dict[str, list[Parity]] = {name: [] for name in rungs}
    comparisons = {name: Comparison(spec) for name in rungs}
    for batch in batches:
        expected = reference.run(batch[0])
        for name, session in rungs.items():
            found = session.run(batch[0])
            try:
                comparisons[name].update(expected, found, batch)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            parts[name].append(heatmap_parity(name, expected, found, spec))
    return {name: (total(name, parts[name]), comparisons[name].drift()) for name in rungs}


def random_crops(spec: PoseSpec, seed: int = 0) -> Iterator[LabelledBatch]:
    """Batches of Gaussian noise, one of each size in BATCHES."""
    rng = np.random.default_rng(seed)
    for size in BATCHES:
        yield unlabelled(rng.standard_normal((size, 3, *spec.input_size), dtype=np.float32), spec)


def photograph_crops(folder: Path, spec: PoseSpec) -> Iterator[LabelledBatch]:
    """All people with keypoints of a COCO or MPII folder, in batches of 1, 2, 7, 1, 2, 7, ..."""
    return labelled_batches(read_people(folder, spec).with_keypoints(), spec, cycle(BATCHES))

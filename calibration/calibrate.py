"""A calibration from its settings to what quantizers work with: read the people, divide them, collect ranges, judge."""

from dataclasses import dataclass
from pathlib import Path

from ..pose.spec import PoseSpec
from .budget import EFFORTS, Budget, Progress
from .graph import Graph, read_graph
from .judge import Judge
from .observers import DEFAULT_METHOD, Method
from .ranges import Ranges, collect_ranges, read_ranges
from .samples import CALIBRATION_PEOPLE, JUDGED_PEOPLE, Sample, divide, read_people


@dataclass(frozen=True)
class Calibration:
    """On whom ranges are collected and precisions are judged, and what INT8 may cost them."""

    folder: Path | None = None
    """A data folder; without it the ranges must be there, all units become INT8, and nothing is judged."""
    ranges: Path | None = None
    """Where ranges lie, or will; if absent, beside the bundle."""
    held_out: bool = False
    """Only people that training left out."""
    people: int = CALIBRATION_PEOPLE
    judged: int = JUDGED_PEOPLE
    seed: int = 0
    method: Method = DEFAULT_METHOD
    budget: Budget | None = None
    """If absent, `LABELLED` or `UNLABELLED`, as the people are."""
    effort: str = "quick"

    def __post_init__(self) -> None:
        if self.effort not in EFFORTS:
            raise ValueError(f"effort is {self.effort!r}, expected one of {', '.join(EFFORTS)}")
        if self.people < 1 or self.judged < 1:
            raise ValueError(f"{self.people} people to calibrate on, {self.judged} to judge: expected at least 1")

    def samples(self, spec: PoseSpec) -> tuple[Sample, Sample]:
        """The people to collect ranges on, and others to judge on; ValueError without a data folder."""
        if self.folder is None:
            raise ValueError("there is nobody to calibrate on: name a data folder with --calibration FOLDER")
        people = read_people(self.folder, spec, held_out=self.held_out)
        return divide(people, self.people, self.judged, self.seed)


@dataclass(frozen=True)
class Calibrated:
    """An FP32 graph and what was learnt about it; None where the settings name nobody to learn it from."""

    graph: Graph
    sample: Sample | None = None
    """Whom the ranges are of."""
    ranges: Ranges | None = None
    judge: Judge | None = None


def calibrate(
    fp32: Path,
    spec: PoseSpec,
    calibration: Calibration,
    ranges: Path,
    progress: Progress = lambda things, _, __: things,
) -> Calibrated:
    """Calibrate an FP32 graph. Ranges are kept in `calibration.ranges`, else in `ranges`, and read if they are there.

    ValueError for ranges of another graph, for too few people, and for pictures that are noise.
    """
    graph, path = read_graph(fp32), calibration.ranges or ranges
    if calibration.folder is not None:
        sample, judged = calibration.samples(spec)
        return Calibrated(graph, sample, collected(graph, sample, spec, path, progress), Judge(judged, spec, fp32))
    if calibration.ranges is None:
        return Calibrated(graph)
    found = read_ranges(path)
    found.check(graph, path)
    return Calibrated(graph, ranges=found)


def collected(graph: Graph, sample: Sample, spec: PoseSpec, path: Path, progress: Progress) -> Ranges:
    """The ranges of a sample, behind a progress bar."""
    return collect_ranges(
        graph, sample, spec, path, lambda batches, count: progress(batches, "collecting ranges", count)
    )

"""Calibration from settings to results: read the people, split them, collect ranges, set up the judge."""

from dataclasses import dataclass
from pathlib import Path

from ..pose.spec import PoseSpec
from .budget import EFFORTS, Budget, Progress
from .graph import Graph, read_graph
from .judge import Judge
from .observers import DEFAULT_METHOD, Method
from .ranges import Ranges, collect_ranges, read_ranges
from .samples import CALIBRATION_PEOPLE, FEWEST_PEOPLE, JUDGED_PEOPLE, Sample, divide, read_people


@dataclass(frozen=True)
class Calibration:
    """Settings: the people to collect ranges and judge precisions on, and the accuracy budget of INT8."""

    folder: Path | None = None
    """A data folder. Without it, `ranges` must name an existing file, all units become INT8, and none is judged."""
    ranges: Path | None = None
    """File to read ranges from or to write them to; None: beside the bundle."""
    held_out: bool = False
    """Whether to use only images that training leaves out."""
    people: int = CALIBRATION_PEOPLE
    judged: int = JUDGED_PEOPLE
    seed: int = 0
    method: Method = DEFAULT_METHOD
    budget: Budget | None = None
    """None: `LABELLED` if the judged people have keypoint labels, else `UNLABELLED`."""
    effort: str = "quick"

    def __post_init__(self) -> None:
        if self.effort not in EFFORTS:
            raise ValueError(f"effort is {self.effort!r}, expected one of {', '.join(EFFORTS)}")
        if self.people < 1 or self.judged < 1:
            raise ValueError(f"{self.people} people to calibrate on, {self.judged} to judge: expected at least 1")

    def samples(self, spec: PoseSpec) -> tuple[Sample, Sample]:
        """The samples to collect ranges on and to judge on, disjoint; ValueError without a data folder."""
        if self.folder is None:
            raise ValueError("there is nobody to calibrate on: name a data folder with --calibration FOLDER")
        fewest = min(FEWEST_PEOPLE, self.people + self.judged)  # whoever asks for fewer gets them
        people = read_people(self.folder, spec, held_out=self.held_out, fewest=fewest)
        return divide(people, self.people, self.judged, self.seed)


@dataclass(frozen=True)
class Calibrated:
    """An FP32 graph with its sample, ranges and judge; None for those that the settings name no data for."""

    graph: Graph
    sample: Sample | None = None
    """The people whose activations the ranges hold."""
    ranges: Ranges | None = None
    judge: Judge | None = None


def calibrate(
    fp32: Path,
    spec: PoseSpec,
    calibration: Calibration,
    ranges: Path,
    progress: Progress = lambda things, _, __: things,
) -> Calibrated:
    """Calibrate an FP32 graph. Ranges are stored in `calibration.ranges`, else in `ranges`, and reused if present.

    ValueError for ranges of another graph, for too few people, and for images that are blank or noise.
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
    """Collect the ranges of a sample with a progress bar."""
    return collect_ranges(
        graph, sample, spec, path, lambda batches, count: progress(batches, "collecting ranges", count)
    )

"""The calibration sample: a seeded, stratified choice of people on photographs, never noise."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..pose import labels
from ..pose.batches import LabelledBatch, labelled_batches
from ..pose.data import PoseData, is_held_out
from ..pose.spec import PoseSpec

CALIBRATION_PEOPLE, JUDGED_PEOPLE = 512, 256
FEWEST_PEOPLE = 16
SMOOTHEST_NOISE = 0.5  # correlation of neighbouring pixels; photographs have 0.9 and more


@dataclass(frozen=True)
class Sample:
    """People of a data folder, and the seed by which they were chosen."""

    people: PoseData
    seed: int

    def batches(self, spec: PoseSpec, batch: int) -> Iterator[LabelledBatch]:
        """Labelled crops in batches of `batch`, cropped as the runtime does it, in a fixed order."""
        return labelled_batches(self.people, spec, repeat(batch))

    @property
    def labelled(self) -> bool:
        """Whether any person has keypoint labels, without which there is no AP."""
        return bool((self.people.keypoints[..., 2] > 0).any())

    def facts(self) -> dict[str, object]:
        """Label file, its SHA-256, seed and person ids: they identify the sample in the files made from it."""
        labels = self.people.labels
        return {
            "labels": labels.name,
            "labels_sha256": hashlib.sha256(labels.read_bytes()).hexdigest(),
            "seed": self.seed,
            "people": self.people.person_ids.tolist(),
        }


def read_people(folder: Path, spec: PoseSpec, *, held_out: bool = False, fewest: int = FEWEST_PEOPLE) -> PoseData:
    """Read the people of a COCO or an MPII folder, sorted by image: those with keypoints, or all if none has any.

    `held_out` takes only the images that training leaves out (`pose.data.is_held_out`). ValueError for fewer than
    `fewest` people, or for labels of another skeleton.
    """
    people = labels.read_people(folder, spec, purpose="train")
    people = people.with_keypoints() if len(people.with_keypoints()) else people
    if held_out:
        people = people.take(np.array([is_held_out(people.images[image]) for image in people.image_of], bool))
    if len(people) < fewest:
        raise ValueError(
            f"{folder} has {len(people)} people{' who are held out' if held_out else ''}, expected at least "
            f"{fewest}: calibrate on photographs like those that the network will see"
        )
    return people.take(np.argsort(people.image_of, kind="stable"))


def divide(people: PoseData, calibration: int, judged: int, seed: int = 0) -> tuple[Sample, Sample]:
    """Two disjoint samples: one to collect ranges on, one to judge precisions on.

    If there are fewer than `calibration` + `judged` people, both samples shrink in proportion.
    """
    share = min(1.0, len(people) / (calibration + judged))
    rng = np.random.default_rng(seed)
    first = stratified(_box_areas(people), np.arange(len(people)), max(1, int(share * calibration)), rng)
    others = np.setdiff1d(np.arange(len(people)), first)
    second = stratified(_box_areas(people), others, max(1, min(len(others), int(share * judged))), rng)
    return Sample(people.take(first), seed), Sample(people.take(second), seed)


def stratified(
    sizes: NDArray[np.float64], rows: NDArray[np.integer], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Sample `count` rows: sort by box area, cut into `count` equal strata, draw one of each; in ascending order."""
    ordered = rows[np.argsort(sizes[rows], kind="stable")]
    return np.sort([rng.choice(part) for part in np.array_split(ordered, min(count, len(rows)))])


def check_photographs(crops: NDArray[np.float32]) -> None:
    """Raise ValueError for crops (N, 3, H, W) that are blank or noise: their ranges would be useless."""
    left, right = crops[..., :-1] - crops.mean(), crops[..., 1:] - crops.mean()
    energy = float(np.square(left).mean())
    if energy < 1e-6:
        raise ValueError("the calibration images are blank; calibrate on photographs")
    correlation = float((left * right).mean()) / energy
    if correlation < SMOOTHEST_NOISE:
        raise ValueError(
            f"the calibration images are noise (neighbouring pixels correlate by {correlation:.2f}); "
            "calibrate on photographs like those that the network will see"
        )


def _box_areas(people: PoseData) -> NDArray[np.float64]:
    return (people.boxes[:, 2:] - people.boxes[:, :2]).prod(1)

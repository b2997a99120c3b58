"""A teacher: a trained network whose heatmaps on the student's views join the loss.

The teacher sees the student's view resampled to its own crop, size and normalization; its heatmaps are resampled to
the student's cells, in the student's frame, and widened to the student's Gaussians where those are wider.
"""

import hashlib
import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..model.checkpoint import load_checkpoint
from ..model.weight_files import read_content
from ..pose.crop import invert_affines
from ..pose.frame import cell_line, person_affines
from ..pose.sides import side_and_stem
from ..pose.spec import PoseSpec

log = logging.getLogger(__name__)

DEFAULT_TEACH = 0.5
"""Share of the teacher in the loss."""
Line = tuple[tuple[float, float], tuple[float, float]]
"""target = factor * source + offset, each for x and y."""


@dataclass(frozen=True)
class Teacher:
    """A network that teaches, and what its heatmaps mean."""

    heatmaps_of: Callable[[Tensor], Tensor]
    """Crops (N, 3, H, W) to heatmaps (N, K, h, w)."""
    spec: PoseSpec
    digest: str
    """SHA-256 of its weights: a part of the run's identity."""

    def lesson(self, student: PoseSpec) -> "Lesson":
        """What it says on the views of a student; ValueError where they share no joint."""
        places = {side_and_stem(name): place for place, name in enumerate(self.spec.skeleton.joints)}
        known = [places.get(side_and_stem(name), -1) for name in student.skeleton.joints]
        if max(known) < 0:
            raise ValueError(
                f"the teacher has none of the student's joints: {self.spec.skeleton.name} and {student.skeleton.name}"
            )
        missing = [name for name, place in zip(student.skeleton.joints, known, strict=True) if place < 0]
        if missing:
            log.warning("the teacher does not know %s: learnt from labels alone", ", ".join(missing))
        return Lesson(self, student, torch.tensor(known))


def read_teacher(path: Path, device: torch.device, *, mixed: bool = False, content: bytes | None = None) -> Teacher:
    """Read a checkpoint of lehrnet's, HRNet's or MMPose's as a teacher; raises as `load_checkpoint`.

    `mixed` computes in bfloat16 by autocast, as the student does on a GPU.
    """
    content = read_content(path, "checkpoint") if content is None else content
    checkpoint = load_checkpoint(path, content=content)
    network: nn.Module = checkpoint.network.to(device).to(memory_format=torch.channels_last).eval()  # pyright: ignore[reportCallIssue]

    def heatmaps_of(crops: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16) if mixed else nullcontext():
            return network(crops.contiguous(memory_format=torch.channels_last)).float()

    return Teacher(heatmaps_of, checkpoint.spec, hashlib.sha256(content).hexdigest())


class Lesson:
    """A teacher's heatmaps on the student's views."""

    def __init__(self, teacher: Teacher, student: PoseSpec, known: Tensor) -> None:
        self.teacher, self.student, self.known = teacher, student, known
        self._view = _view_of(teacher.spec, student)
        self._cells = _cells_of(teacher.spec, student)
        self._blur, self._gain = _widening(student, teacher.spec)

    @torch.no_grad()
    def __call__(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Heatmaps (N, K, h, w) on the student's cells, and how sure the teacher is of each joint (N, K), 0 to 1.

        `crops` (N, 3, H, W) are the student's. A joint that the teacher does not know has weight 0.
        """
        spec = self.teacher.spec
        found = self.teacher.heatmaps_of(self._shown(crops)).float()
        known = self.known.to(found.device)
        found = found[:, known.clamp(min=0)]
        sure = found.amax((2, 3)).clamp(0, 1) * (known >= 0)
        if not torch.isfinite(sure).all():
            raise ValueError(f"the teacher's heatmaps hold NaN or infinity ({spec.skeleton.name})")
        found = _sampled(found, self._cells, self.student.grid)
        for _ in range(2 if len(self._blur) > 1 else 0):  # along columns, then along rows
            kernel = found.new_tensor(self._blur)[None, None, :, None].expand(found.shape[1], 1, -1, 1)
            found = F.conv2d(found, kernel, padding=(len(self._blur) // 2, 0), groups=found.shape[1]).transpose(2, 3)
        return found * self._gain, sure

    def _shown(self, crops: Tensor) -> Tensor:
        """The student's views as the teacher's crops, black beyond their edges."""
        mean, std = (crops.new_tensor(values)[:, None, None] for values in (self.student.mean, self.student.std))
        shown = _sampled(crops * std + mean, self._view, self.teacher.spec.input_size)
        mean, std = (
            crops.new_tensor(values)[:, None, None] for values in (self.teacher.spec.mean, self.teacher.spec.std)
        )
        return (shown - mean) / std


def _sampled(maps: Tensor, line: Line, size: tuple[int, int]) -> Tensor:
    """Maps (N, C, h, w) at factor * index + offset for every index of `size` (H, W); bilinear, zeros outside."""
    (factor_x, factor_y), (offset_x, offset_y) = line
    across = factor_x * torch.arange(size[1], device=maps.device) + offset_x
    down = factor_y * torch.arange(size[0], device=maps.device) + offset_y
    across, down = (2 * across + 1) / maps.shape[3] - 1, (2 * down + 1) / maps.shape[2] - 1
    grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), -1)[None].expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps, grid.to(maps.dtype), align_corners=False)


def _view_of(teacher: PoseSpec, student: PoseSpec) -> Line:
    """From crop px of the teacher to those of the student, for a person who fills the student's view."""
    height, width = student.input_size
    box = np.array([[0.0, 0.0, width, height]])
    inverse = invert_affines(person_affines(box, student))[0]
    (affine,) = person_affines(box, teacher)
    factor = inverse[[0, 1], [0, 1]] * affine[[0, 1], [0, 1]]
    offset = inverse[[0, 1], [0, 1]] * affine[:, 2] + inverse[:, 2]
    return (float(factor[0]), float(factor[1])), (float(offset[0]), float(offset[1]))


def _cells_of(teacher: PoseSpec, student: PoseSpec) -> Line:
    """From cells of the student to those of the teacher: by way of both crops."""
    view, own, taught = _view_of(teacher, student), cell_line(student), cell_line(teacher)
    factors, offsets = [], []
    for axis in range(2):
        factors.append(own.factor[axis] / view[0][axis] / taught.factor[axis])
        crop = (own.offset - view[1][axis]) / view[0][axis]
        offsets.append((crop - taught.offset) / taught.factor[axis])
    return (factors[0], factors[1]), (offsets[0], offsets[1])


def _widening(student: PoseSpec, teacher: PoseSpec) -> tuple[list[float], float]:
    """Kernel that widens the teacher's Gaussians on the student's cells to the student's, and what keeps their height.

    A kernel of one number where they are as wide already, or wider.
    """
    own = teacher.sigma / _cells_of(teacher, student)[0][0]
    missing = student.sigma**2 - own**2
    if missing < (0.1 * student.sigma) ** 2:
        return [1.0], 1.0
    radius = int(np.ceil(3 * missing**0.5))
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * missing))
    return (kernel / kernel.sum()).tolist(), student.sigma**2 / own**2

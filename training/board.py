"""TensorBoard logging of a training: curves, and heatmaps over crops."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ..pose.spec import PoseSpec
from .trainer import Report, Trainer

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError as error:
    raise ImportError("--tensorboard needs its package: pip install 'lehrnet[train]'") from error

PICTURES = 8


class Board:
    """Writes event files into the run's folder, for `tensorboard --logdir RUN`."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._writer = SummaryWriter(str(trainer.run.out / "tensorboard"), purge_step=trainer.step)

    def show(self, report: Report) -> None:
        """Write the scalars of a step; after a validation also its metrics and heatmap images."""
        scalars = {"loss": report.loss, "rate": report.rate, "people_per_second": report.people_per_second}
        for name, value in scalars.items():
            self._writer.add_scalar(f"train/{name}", value, report.step)
        if report.figures is not None:
            for name, value in report.figures.items():
                self._writer.add_scalar(f"held_out/{name}", value, report.step)
            self._show_heatmaps(report.step)
            self._writer.flush()

    def _show_heatmaps(self, step: int) -> None:
        people = self._trainer.held_out
        assert people is not None
        _, crops, _, _ = next(people.plain(PICTURES))
        heatmaps = self._trainer.heatmaps(crops).cpu().numpy()
        pictures = [overlay(*pair, people.spec) for pair in zip(crops.cpu().numpy(), heatmaps, strict=True)]
        self._writer.add_images("held_out/heatmaps", np.stack(pictures), step, dataformats="NHWC")


def overlay(crop: NDArray[np.float32], heatmaps: NDArray[np.float32], spec: PoseSpec) -> NDArray[np.uint8]:
    """RGB image (H, W, 3) of a normalized crop (3, H, W), overlaid with the maximum over its heatmaps (K, h, w)."""
    height, width = spec.input_size
    pixels = (crop.transpose(1, 2, 0) * spec.std + spec.mean) * 255
    strongest = cv2.resize(heatmaps.max(0).clip(0, 1), (width, height), interpolation=cv2.INTER_LINEAR)
    colours = cv2.applyColorMap((strongest * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return (0.5 * pixels + 0.5 * colours).clip(0, 255).astype(np.uint8)

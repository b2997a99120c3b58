"""Inference: runs a bundle on a device with NumPy, OpenCV and one backend, without torch."""

from .bundle import Artefact, Bundle, open_bundle
from .draw import draw_poses
from .estimator import PoseEstimator, Poses
from .session import Session, open_session

__all__ = [
    "Artefact",
    "Bundle",
    "PoseEstimator",
    "Poses",
    "Session",
    "draw_poses",
    "open_bundle",
    "open_session",
]

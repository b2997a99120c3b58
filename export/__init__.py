"""From a checkpoint to a verified bundle."""

from .graph import export_module, export_network
from .package import export_bundle
from .parity import Parity
from .precisions import PRECISIONS, Calibration
from .verify import Rung, photograph_crops, random_crops, verify_bundle

__all__ = [
    "PRECISIONS",
    "Calibration",
    "Parity",
    "Rung",
    "export_bundle",
    "export_module",
    "export_network",
    "photograph_crops",
    "random_crops",
    "verify_bundle",
]

"""From a checkpoint to a verified bundle."""

from .graph import export_module, export_network
from .package import PRECISIONS, export_bundle
from .verify import Parity, photograph_crops, random_crops, verify_bundle

__all__ = [
    "PRECISIONS",
    "Parity",
    "export_bundle",
    "export_module",
    "export_network",
    "photograph_crops",
    "random_crops",
    "verify_bundle",
]

"""Export of a checkpoint to a verified bundle, and of a bundle to engines.

The names below are imported on first access: a device that builds an engine has neither torch nor onnx.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..calibration.calibrate import Calibration
    from .graph import export_module, export_network
    from .package import export_bundle
    from .parity import Parity
    from .precisions import PRECISIONS
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
_MODULES = {
    "PRECISIONS": ".precisions",
    "Calibration": "..calibration.calibrate",
    "Parity": ".parity",
    "Rung": ".verify",
    "export_bundle": ".package",
    "export_module": ".graph",
    "export_network": ".graph",
    "photograph_crops": ".verify",
    "random_crops": ".verify",
    "verify_bundle": ".verify",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name], __name__), name)

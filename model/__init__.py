"""The network: LE-HRNet and its variants in PyTorch."""

try:
    import torch as _torch  # noqa: F401 - imported here to explain its absence in one place
except ImportError as error:
    raise ImportError("the network needs PyTorch: pip install 'lehrnet[train]'") from error

from .config import DEFAULT_VARIANT, VARIANTS, NetworkConfig
from .network import PoseNetwork, create_model, list_models

__all__ = ["DEFAULT_VARIANT", "VARIANTS", "NetworkConfig", "PoseNetwork", "create_model", "list_models"]

"""The network: LE-HRNet and its variants in PyTorch."""

from .config import DEFAULT_VARIANT, VARIANTS, NetworkConfig
from .network import PoseNetwork, create_model, list_models

__all__ = ["DEFAULT_VARIANT", "VARIANTS", "NetworkConfig", "PoseNetwork", "create_model", "list_models"]

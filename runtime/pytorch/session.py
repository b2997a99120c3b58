"""Session for PyTorch: the reference that every other backend is compared with."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..inputs import check_crops, opened

try:
    import torch

    from ...model.checkpoint import load_checkpoint
    from ...model.device import choose_device
    from ...model.network import PoseNetwork
except ImportError as error:
    raise ImportError("PyTorch is not installed: pip install 'lehrnet[train]'") from error


class TorchSession:
    """A checkpoint in eval mode, in its training form."""

    backend = "torch"

    def __init__(
        self, path: Path, device: str = "auto", threads: int | None = None, *, content: bytes | None = None
    ) -> None:
        chosen = choose_device(device)
        if threads is not None:
            torch.set_num_threads(threads)  # PyTorch has one setting for the process
        self.device = str(chosen)
        checkpoint = load_checkpoint(path, content=content)
        self.network: PoseNetwork | None = checkpoint.network.to(self.device)
        self.spec = checkpoint.spec

    @torch.inference_mode()
    def run(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        """Heatmaps (N, K, H/4, W/4) of normalized RGB crops (N, 3, H, W)."""
        network = opened(self.network)
        check_crops(crops)
        return network(torch.from_numpy(crops).to(self.device)).cpu().numpy()

    def close(self) -> None:
        """Free the network's memory, as far as PyTorch returns it."""
        self.network = None

"""Crops to heatmaps on some device: one Protocol, and the door to every backend."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ..pose.spec import PoseSpec

if TYPE_CHECKING:
    from .cuda_pipeline import CudaPipeline

ENGINES = ("tensorrt", "tensorrt_rtx")

log = logging.getLogger(__name__)


class Session(Protocol):
    """A loaded network. Sessions share a shape, not a base class."""

    backend: str
    """ "onnxruntime", "torch", ..."""
    device: str
    """Where it runs: "cpu", "cuda:0", ..."""
    spec: PoseSpec
    """What its heatmaps mean, by its own file; a bundle's manifest knows better than a bare ONNX file."""

    def run(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        """Heatmaps (N, K, H/4, W/4) of normalised RGB crops (N, 3, H, W)."""
        ...


def open_session(path: Path, device: str = "auto", threads: int | None = None) -> Session:
    """Open a model file on "cpu", "cuda", "cuda:1" or "auto"; its suffix names the backend.

    "auto" takes a GPU where the backend can use one; the choice stands in the log and in `device`. Any other
    device is used or refused, never replaced. `threads` bounds the CPU's; None leaves it to the backend.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no model at {path}")
    match path.suffix:
        case ".onnx":
            from .onnx_session import OnnxSession as Backend
        case ".safetensors":
            from .torch_session import TorchSession as Backend
        case ".engine":
            from .tensorrt_session import TensorRtSession as Backend
        case suffix:
            expected = ".onnx, .safetensors or .engine"
            raise ValueError(f"cannot open {path}: its suffix is {suffix!r}, expected {expected}")
    session = Backend(path, device, threads)
    log.info("%s runs on %s by %s", path.name, session.device, session.backend)
    return session


def open_pipeline(session: Session, spec: PoseSpec) -> "CudaPipeline | None":
    """Crop and decode beside an engine on its GPU; None for any other session, and where no kernels were compiled."""
    if session.backend not in ENGINES:
        return None
    from .cuda_pipeline import CudaPipeline
    from .tensorrt_session import TensorRtSession

    assert isinstance(session, TensorRtSession)
    try:
        return CudaPipeline(session, spec)
    except FileNotFoundError as error:
        log.warning("%s; until then crop and decode run on the CPU", error)
        return None

"""Crops to heatmaps on some device: one Protocol, and the door to every backend."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ..pose.spec import PoseSpec
from .bundle import WEIGHTS, Bundle
from .devices import TORCH, chosen
from .inputs import device_index

if TYPE_CHECKING:
    from .cuda_pipeline import CudaPipeline

log = logging.getLogger(__name__)


class Session(Protocol):
    """A loaded network. Sessions share a shape, not a base class; those on CUDA graphs share `GraphSession`."""

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


def open_artefact(
    bundle: Bundle, precision: str, device: str = "auto", threads: int | None = None, otherwise: str | None = None
) -> Session:
    """Open what a bundle has under a name; "fastest", and forms such as "torch_fp16", are names too.

    Where that does not run here, `otherwise` is opened instead, and the log says why. Without it the error is raised.
    """
    try:
        name = chosen(bundle, precision, device)
        if name.startswith(f"{TORCH}_"):
            return _open_form(bundle.path(WEIGHTS), name, device)
        return open_session(bundle.path(name), device, threads)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        if otherwise is None:
            raise
        log.warning("%s does not run here: %s. As was allowed, %s runs instead", precision, error, otherwise)
        return open_artefact(bundle, otherwise, device, threads)


def _open_form(path: Path, name: str, device: str) -> Session:
    from .torch_graph_session import TorchForm, TorchGraphSession  # it says what to install

    session = TorchGraphSession(path, device, form=TorchForm.parse(name))
    log.info("%s runs on %s by %s as %s", path.name, session.device, session.backend, name)
    return session


def open_pipeline(session: Session, spec: PoseSpec) -> "CudaPipeline | None":
    """Crop and decode beside a network on CUDA graphs; None for any other session, and where there are no kernels."""
    if device_index(session.device) is None:
        return None
    try:
        from .cuda import describe_gpu
        from .cuda_kernels import Kernels, kernel_image
        from .cuda_pipeline import CudaPipeline
        from .graph_session import GraphSession
    except ImportError:  # then it is no such session
        return None
    if not isinstance(session, GraphSession):
        return None
    try:
        image = kernel_image(describe_gpu(session.gpu))
    except FileNotFoundError as error:
        log.warning("%s; until then crop and decode run on the CPU", error)
        return None
    return CudaPipeline(session, spec, Kernels(image))

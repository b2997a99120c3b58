"""The session protocol (crops to heatmaps on a device), and the functions that open a session of each backend."""

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ..parsing import device_index
from ..pose.spec import PoseSpec
from .bundle import IN_ENGINES_ONLY, WEIGHTS, Bundle
from .devices import TORCH, chosen
from .inputs import check_threads

if TYPE_CHECKING:
    from .backends.native import NativePipeline
    from .cuda.pipeline import CudaPipeline

log = logging.getLogger(__name__)


OUTPUTS = {"keypoints": "keypoints of crops", "whole": "keypoints of a frame's boxes"}


class Session(Protocol):
    """A loaded network. Backends implement this protocol; those on CUDA graphs share the base class `GraphSession`."""

    backend: str
    """ "onnxruntime", "torch", ..."""
    device: str
    """The device in use: "cpu", "cuda:0", ..."""
    spec: PoseSpec
    """The pose spec by the model file itself; a bundle's manifest takes precedence over a bare ONNX file."""

    def run(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        """Heatmaps (N, K, H/4, W/4) of normalized RGB crops (N, 3, H, W)."""
        ...

    def close(self) -> None:
        """Free host and GPU memory; may be called more than once. `run` raises ValueError afterwards."""
        ...


Trust = bool | str
"""Whether an engine may run: True for any, or the SHA-256 of the trusted one."""


def open_session(
    path: Path,
    device: str = "auto",
    threads: int | None = None,
    *,
    content: bytes | None = None,
    trust_engine: Trust = False,
) -> Session:
    """Open a model file on "cpu", "cuda", "cuda:1" or "auto"; its suffix selects the backend.

    "auto" takes a GPU if the backend can use one; the choice is logged and stored in `device`. Any other device is
    used or refused, never replaced. `threads` limits CPU threads; None leaves it to the backend. `content` is the
    file's content, if it was read already. An engine is code, and runs only if `trust_engine` allows it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no model at {path}")
    check_threads(threads)
    match path.suffix:
        case ".onnx":
            from .backends.onnxruntime import OnnxSession

            session: Session = OnnxSession(path, device, threads, content=content)
        case ".safetensors":
            from .pytorch.session import TorchSession

            session = TorchSession(path, device, threads, content=content)
        case ".engine":
            content = path.read_bytes() if content is None else content
            _check_trust(path, content, trust_engine)
            from .cuda.tensorrt import TensorRtSession

            session = TensorRtSession(path, device, threads, content=content)
        case suffix:
            expected = ".onnx, .safetensors or .engine"
            raise ValueError(f"cannot open {path}: its suffix is {suffix!r}, expected {expected}")
    log.info("%s runs on %s by %s", path.name, session.device, session.backend)
    return session


def open_artefact(
    bundle: Bundle,
    artefact: str,
    device: str = "auto",
    threads: int | None = None,
    fallback: str | None = None,
    *,
    trust_engine: Trust = False,
) -> Session:
    """Open a bundle's artefact by name, "auto", "fastest", or a PyTorch form such as "torch_fp16".

    If it does not run here, `fallback` is opened instead, with a warning; without a fallback the error is raised.
    """
    try:
        name = chosen(bundle, artefact, device)
        if name.startswith(f"{TORCH}_"):
            return _open_form(bundle, name, device)
        _check_output(bundle, name)
        if bundle.artefacts[name].form == "native":
            return _open_native(bundle, name, device, threads)
        content = bundle.read(name)
        session = open_session(bundle.path(name), device, threads, content=content, trust_engine=trust_engine)
        _check_spec(session, bundle, name)
        return session
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        if fallback is None:
            raise
        log.warning("%s does not run here: %s. The fallback %s runs instead", artefact, error, fallback)
        return open_artefact(bundle, fallback, device, threads, trust_engine=trust_engine)


def _check_output(bundle: Bundle, name: str) -> None:
    """Raise ValueError for artefacts that no session runs: outputs other than heatmaps, and graphs only for engines."""
    path, artefact = bundle.path(name), bundle.artefacts[name]
    if artefact.output != "heatmaps":
        raise ValueError(
            f"{path} gives {OUTPUTS[artefact.output]}, not heatmaps: run it without lehrnet, or name another"
        )
    lacking = sorted(IN_ENGINES_ONLY.intersection(artefact.requires))
    if lacking:
        raise ValueError(
            f"{path} requires {', '.join(lacking)} and runs only as an engine: lehrnet build-engine {bundle.root}"
        )


def _check_trust(path: Path, content: bytes, trust: Trust) -> None:
    """Raise ValueError unless the user trusts this engine."""
    if trust is True:
        return
    found = hashlib.sha256(content).hexdigest() if isinstance(trust, str) else ""
    if trust is False or found != trust.lower():
        reason = f"its SHA-256 is {found}, not {trust!r}" if found else "it is not trusted"
        raise ValueError(
            f"{path.name} is an engine, that is, executable code by whoever built it, and was not run: {reason}. "
            "--trust-engine (trust_engine=True) allows it, --trust-engine SHA256 only the one with that hash"
        )


def _check_spec(session: Session, bundle: Bundle, name: str) -> None:
    """Raise ValueError unless input size, joints, cells and names match the manifest."""
    found, wanted = session.spec, bundle.spec
    facts = [(spec.input_size, len(spec.skeleton), spec.grid) for spec in (found, wanted)]
    if facts[0] != facts[1]:
        raise ValueError(
            f"{bundle.path(name)} takes crops of {found.input_size} and finds {len(found.skeleton)} joints on "
            f"{found.grid} cells, but the manifest says {wanted.input_size}, {len(wanted.skeleton)} and {wanted.grid}; "
            "export the bundle again"
        )
    names = getattr(session, "names", bundle.names)  # a graph says them itself
    if names != bundle.names:
        raise ValueError(
            f"{bundle.path(name)} maps {names[0]!r} to {names[1]!r}, but the manifest says {bundle.names[0]!r} to "
            f"{bundle.names[1]!r}; export the bundle again"
        )


def _open_native(bundle: Bundle, name: str, device: str, threads: int | None) -> Session:
    """Open a packed network; ValueError for another device than the CPU."""
    from .backends.native import NativeSession

    if device != "auto" and device_index(device) is not None:
        raise ValueError(f"{bundle.path(name)} runs on the CPU only, but device is {device!r}")
    check_threads(threads)
    session = NativeSession(bundle, name, threads)
    log.info("%s runs on %s by %s", bundle.path(name).name, session.device, session.backend)
    return session


def _open_form(bundle: Bundle, name: str, device: str) -> Session:
    from .pytorch.graph_session import TorchForm, TorchGraphSession  # it says what to install

    path, content = bundle.path(WEIGHTS), bundle.read(WEIGHTS)
    session = TorchGraphSession(path, device, form=TorchForm.parse(name), content=content)
    log.info("%s runs on %s by %s as %s", path.name, session.device, session.backend, name)
    return session


def open_pipeline(session: Session, spec: PoseSpec) -> "CudaPipeline | NativePipeline | None":
    """The pipeline from pixels to keypoints of a session on CUDA graphs or of our own CPU engine.

    None for other sessions, without CUDA kernels, and for another spec than that of the engine's bundle.
    """
    from .backends.native import NativePipeline, NativeSession

    if isinstance(session, NativeSession):
        return NativePipeline(session) if session.spec == spec else None
    if device_index(session.device) is None:
        return None
    try:
        from .cuda.driver import describe_gpu
        from .cuda.graph_session import GraphSession
        from .cuda.launch import Kernels, kernel_image
        from .cuda.pipeline import CudaPipeline
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

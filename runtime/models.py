"""Opening of any model that a user may name: a bundle, a checkpoint, an engine or a bare ONNX file."""

from pathlib import Path

from ..pose.spec import PoseSpec
from .bundle import open_bundle
from .devices import AUTO
from .session import Session, Trust, open_artefact, open_session


def open_model(
    path: Path,
    artefact: str = AUTO,
    device: str = "auto",
    threads: int | None = None,
    *,
    trust_engine: Trust = False,
) -> tuple[Session, PoseSpec]:
    """Open a model; return its session and pose spec.

    A bundle or a checkpoint records its spec; a bare ONNX file gets the default spec for its number of joints.
    """
    if path.is_dir():
        bundle = open_bundle(path)
        return open_artefact(bundle, artefact, device, threads, trust_engine=trust_engine), bundle.spec
    session = open_session(path, device, threads, trust_engine=trust_engine)
    return session, session.spec

"""The shipped default as a bundle: exported once on each machine."""

import hashlib
import logging
import os
from pathlib import Path

from .. import __version__
from ..model.checkpoint import DEFAULT_WEIGHTS, load_checkpoint
from ..runtime.bundle import open_bundle
from .package import export_bundle

log = logging.getLogger(__name__)


def default_bundle() -> Path:
    """The bundle of the shipped weights; exported into the user's cache where it is not there yet."""
    digest = hashlib.sha256(DEFAULT_WEIGHTS.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    root = cache / "lehrnet" / f"{DEFAULT_WEIGHTS.stem}-{__version__}-{digest}"
    if not root.exists():
        log.warning("exporting the shipped weights, once, to %s", root)
        export_bundle(load_checkpoint(DEFAULT_WEIGHTS), root)
    return open_bundle(root).root

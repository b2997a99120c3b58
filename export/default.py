"""The bundle of the shipped weights, exported once on each machine."""

import contextlib
import hashlib
import logging
import os
import shutil
from pathlib import Path

from .. import __version__
from ..files import locked
from ..model.checkpoint import DEFAULT_WEIGHTS, load_checkpoint
from ..runtime.bundle import open_bundle
from .package import export_bundle

log = logging.getLogger(__name__)


def default_bundle() -> Path:
    """Folder of the shipped weights' bundle; exported into the user's cache on first use."""
    digest = hashlib.sha256(DEFAULT_WEIGHTS.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lehrnet"
    root = cache / f"{DEFAULT_WEIGHTS.stem}-{__version__}-{digest}"
    with contextlib.suppress(FileNotFoundError, ValueError):
        return open_bundle(root).root  # write nothing if it exists: a container's home may be read-only
    with locked(cache, wait=True):  # only one of two concurrent processes exports
        try:
            return open_bundle(root).root
        except FileNotFoundError:
            log.warning("exporting the shipped weights, once, to %s", root)
        except ValueError as error:
            log.warning("the cached bundle is damaged (%s): exporting the shipped weights again", error)
        if root.exists():
            shutil.rmtree(root)  # safe: the cache's own folder, named by version and hash
        export_bundle(load_checkpoint(DEFAULT_WEIGHTS), root)
    return open_bundle(root).root

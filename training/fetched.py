"""Packs at an address: copied once to each machine's own disk, where all its processes read them."""

import hashlib
import os
from pathlib import Path

from ..files import atomic_folder, locked

SHARDS = "pack_*.npz"


def fetch_pack(address: str, cache: Path | None = None) -> Path:
    """A local copy of the pack at an address of fsspec, such as s3://bucket/pack; made by one of several processes.

    The copy is named by the files' names and sizes, so that another pack at the same address is fetched anew. It lies
    below `cache`, by default the user's cache.

    Raises:
        ImportError: fsspec, or its package for this kind of address, is missing.
        FileNotFoundError: no pack is there.
        OSError: the address cannot be read, or the disk is full.
    """
    try:
        import fsspec  # noqa: PLC0415 - addresses only

        system, folder = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise ImportError(f"{address}: {error}; pip install fsspec, or what it names") from error
    found = (
        [entry for entry in system.ls(folder, detail=True) if entry["type"] == "file"] if system.exists(folder) else []
    )
    names = {Path(entry["name"]).name: (entry["name"], int(entry["size"] or 0)) for entry in found}
    if not any(Path(name).match(SHARDS) for name in names):
        raise FileNotFoundError(f"{address} is no pack: it has no {SHARDS}; `lehrnet pack` writes one")
    facts = sorted((name, size) for name, (_, size) in names.items())
    digest = hashlib.sha256(repr((address, facts)).encode()).hexdigest()[:16]
    packs = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lehrnet" / "packs"
    copy = packs / digest
    with locked(packs, wait=True):
        if not copy.is_dir():
            with atomic_folder(copy) as unfinished:
                for name, (remote, _) in names.items():
                    system.get_file(remote, str(unfinished / name))
    return copy

"""Reading of a pack's shards, with validation of names, types, shapes, lengths and values.

A shard is an .npz file. It is not read by NumPy, which would allocate any size that a header claims.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..parsing import printable

FORMAT = "lehrnet-pack-2"
SMALLEST_SIDE, LARGEST_SIDE = 32, 4096  # px of a stored crop
LARGEST_SHARD = 1 << 30  # bytes; `write_pack` writes about 48 MiB
MOST_JOINTS = 1024
FARTHEST = 1e6  # px: largest coordinate of a joint in its crop
# Data type (U: text of any length) and number of axes of each array.
ARRAYS: Mapping[str, tuple[str, int]] = {
    "format": ("U", 0),
    "bytes": ("|u1", 1),
    "lengths": ("<i8", 1),
    "keypoints": ("<f8", 3),
    "areas": ("<f8", 1),
    "held_out": ("|b1", 1),
    "sources": ("U", 1),
    "size": ("<i8", 1),
}


@dataclass(frozen=True)
class Shard:
    """N people of one file, as in a `Pack`; JPEGs not decoded."""

    pictures: Sequence[NDArray[np.uint8]]
    keypoints: NDArray[np.float64]
    areas: NDArray[np.float64]
    held_out: NDArray[np.bool_]
    sources: NDArray[np.str_]
    size: tuple[int, int]


def read_shard(path: Path) -> Shard:
    """Read one file of a pack; ValueError for an invalid file."""
    try:
        return _checked(_arrays(path))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        told = printable(str(error)) or type(error).__name__
        raise ValueError(f"{path} cannot be read as part of a pack: {told}; copy it again or pack again") from error


def check_size(size: Sequence[int]) -> None:
    """Raise ValueError for implausible sizes of stored crops."""
    if len(size) != 2 or not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in size):
        raise ValueError(f"its crops are of {tuple(size)} px, expected sides from {SMALLEST_SIDE} to {LARGEST_SIDE}")


def _arrays(path: Path) -> dict[str, NDArray]:
    with path.open("rb") as file:
        content = file.read(LARGEST_SHARD + 1)
    if len(content) > LARGEST_SHARD:
        raise ValueError(f"it has more than {LARGEST_SHARD} bytes")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        missing = [name for name in ARRAYS if f"{name}.npy" not in entries]
        if missing:
            raise ValueError(f"it has no {missing[0]}")
        wanted = {name: entries[f"{name}.npy"] for name in ARRAYS}
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in wanted.values()):
            raise ValueError("it is compressed, which a pack is not")
        if sum(entry.file_size for entry in wanted.values()) > len(content):
            raise ValueError("its arrays are larger than the file")
        return {name: _array(name, archive.read(entry)) for name, entry in wanted.items()}


def _array(name: str, content: bytes) -> NDArray:
    """Parse an array in NumPy's .npy format; ValueError unless its header has the expected type, shape and size."""
    stream = io.BytesIO(content)
    try:
        if npy.read_magic(stream) != (1, 0):
            raise ValueError("its version is not 1.0")
        shape, fortran, found = npy.read_array_header_1_0(stream)
    except Exception as error:  # the header is a Python literal and may hold anything
        raise ValueError(f"{name} has no header of an array ({type(error).__name__})") from error
    wanted, axes = ARRAYS[name]
    told = f"{name} is {found} with shape {shape}, expected {wanted} with {axes} axes"
    if (found.kind if wanted == "U" else found.str) != wanted or found.byteorder == ">" or len(shape) != axes:
        raise ValueError(told)
    if fortran and axes > 1:
        raise ValueError(f"{name} lies in Fortran's order")
    count, rest = 1, len(content) - stream.tell()
    for side in shape:
        count *= side
    if min(shape, default=0) < 0 or count * found.itemsize != rest:
        raise ValueError(f"{told}; its shape does not fit the {rest} bytes that follow")
    if not found.itemsize:
        raise ValueError(told)
    return np.frombuffer(content, found, count, stream.tell()).reshape(shape)


def _checked(arrays: Mapping[str, NDArray]) -> Shard:
    found = str(arrays["format"])
    if found != FORMAT:
        raise ValueError(f"its format is {found[:40]!r}, expected {FORMAT!r}")
    lengths, size = arrays["lengths"], arrays["size"].tolist()
    check_size(size)
    people = len(lengths)
    for name in ("keypoints", "areas", "held_out", "sources"):
        if len(arrays[name]) != people:
            raise ValueError(f"{name} are of {len(arrays[name])} people, but lengths of {people}")
    total = len(arrays["bytes"])
    if not people or lengths.min() < 1 or lengths.max() > total or sum(lengths.tolist()) != total:
        raise ValueError(f"its {people} lengths do not add up to the {total} bytes of pictures")
    keypoints, areas = arrays["keypoints"], arrays["areas"]
    joints = keypoints.shape[1]
    if keypoints.shape[2] != 3 or not 1 <= joints <= MOST_JOINTS:
        raise ValueError(f"keypoints have shape {keypoints.shape}, expected (N, K, 3)")
    if not (np.abs(keypoints) <= FARTHEST).all() or not np.isin(keypoints[:, :, 2], (0, 1, 2)).all():
        raise ValueError(f"keypoints are not finite, beyond {FARTHEST:g} px, or of a visibility other than 0, 1, 2")
    if not ((areas > 0) & np.isfinite(areas)).all():
        raise ValueError("areas are not finite and positive")
    sources = arrays["sources"]
    if any(not name or printable(name) != name for name in np.unique(sources).tolist()):
        raise ValueError("sources are empty or have control characters")
    pictures = np.split(arrays["bytes"], np.cumsum(lengths)[:-1])
    copied = {"keypoints": keypoints.copy(), "areas": areas.copy(), "held_out": arrays["held_out"] != 0}
    return Shard(pictures, sources=sources, size=(size[0], size[1]), **copied)

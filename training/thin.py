"""A pack's people by chance, re-encoded, as many as fit into a number of bytes: for machines that take little in."""

from pathlib import Path

import cv2
import numpy as np

from ..files import atomic_folder
from .pack import SKELETON, Pack, ShardWriter, read_pack

BYTES_BESIDE = 640
"""Of a person in a shard beside the JPEG: keypoints of 17 joints, area, source, lengths."""
SEED = 0


def thin_pack(folder: Path, out: Path, room: int, quality: int) -> int:
    """Write a pack of people of another one to `out`, of at most `room` bytes; returns their number.

    People are taken in a random order, so that sources and held-out people keep their shares. ValueError if nobody
    fits; FileExistsError if `out` exists.
    """
    pack = read_pack(folder)
    with atomic_folder(out) as unfinished:
        shard, left = ShardWriter(unfinished, pack.size), room
        if (folder / SKELETON).is_file():
            content = (folder / SKELETON).read_bytes()
            (unfinished / SKELETON).write_bytes(content)
            left -= len(content)
        for row in np.random.default_rng(SEED).permutation(len(pack)):
            encoded = _smaller(pack, int(row), quality)
            left -= len(encoded) + BYTES_BESIDE
            if left < 0:
                break
            source, held_out = str(pack.sources[row]), bool(pack.held_out[row])
            shard.put(encoded, pack.keypoints[row], float(pack.areas[row]), held_out=held_out, source=source)
        shard.flush()
        if not shard.people:
            raise ValueError(f"nobody of {folder} fits into {room} bytes; leave something else out")
    return shard.people


def _smaller(pack: Pack, row: int, quality: int) -> np.ndarray:
    """A person's JPEG at a lower quality, or as it is if that is smaller."""
    picture = cv2.imdecode(pack.pictures[row], cv2.IMREAD_COLOR)
    if picture is None:
        return pack.pictures[row]
    _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return min(np.asarray(encoded, np.uint8), pack.pictures[row], key=len)

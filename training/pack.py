"""A pack: every person's crop as JPEG with its keypoints, in a few files (shards); made once from data folders.

A stored crop has a margin (MARGIN) around the view, so that views can be rotated and scaled without the photograph.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..files import atomic_folder, is_full
from ..parsing import naming, parse, printable, read_json
from ..pose.augment import MARGIN
from ..pose.crop import Affines, invert_affines, sample_upright, transform_points
from ..pose.data import PoseData, is_held_out
from ..pose.frame import person_affines
from ..pose.headers import header_of
from ..pose.skeleton import Skeleton
from ..pose.spec import PoseSpec
from .shards import FARTHEST, FORMAT, check_size, read_shard

log = logging.getLogger(__name__)

JPEG_QUALITY = 92
SHARD_BYTES = 48 << 20
SKELETON = "skeleton.json"
LARGEST_SKELETON = 4 << 20  # bytes
SHOWN = 3  # bad images that are named in the warning


@dataclass(frozen=True)
class Pack:
    """N people in memory; crops stay JPEG until `decode`."""

    pictures: Sequence[NDArray[np.uint8]]
    """N encoded crops."""
    keypoints: NDArray[np.float64]
    """(N, K, 3) in px of the stored crop."""
    areas: NDArray[np.float64]
    """(N,) area of the person, px^2 of the stored crop."""
    held_out: NDArray[np.bool_]
    """(N,) whether a person is for validation; chosen by image."""
    sources: NDArray[np.str_]
    """(N,) name of the data folder that a person comes from."""
    size: tuple[int, int]
    """(height, width) of a stored crop, px."""
    shards: tuple[Path, ...]
    """The files of the pack."""
    origins: NDArray[np.int64]
    """(N, 2) index of a person's shard, and the row in it."""
    skeleton: Skeleton | None = None
    """The joints' own; None for the packs of earlier versions, which do not say."""

    def __len__(self) -> int:
        return len(self.pictures)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "Pack":
        """The people of the given rows (indices or a mask)."""
        chosen = np.arange(len(self))[rows]
        return replace(
            self,
            pictures=[self.pictures[row] for row in chosen],
            keypoints=self.keypoints[chosen],
            areas=self.areas[chosen],
            held_out=self.held_out[chosen],
            sources=self.sources[chosen],
            origins=self.origins[chosen],
        )

    def decode(self, rows: NDArray[np.integer], threads: ThreadPoolExecutor) -> NDArray[np.uint8]:
        """Decode stored crops to RGB (n, H, W, 3) of uint8, in threads: OpenCV releases the GIL.

        ValueError names the shard and row of a damaged JPEG.
        """
        crops = np.empty((len(rows), *self.size, 3), np.uint8)

        def one(index: int) -> None:
            crops[index] = self._decoded(int(rows[index]))[..., ::-1]

        list(threads.map(one, range(len(rows))))
        return crops

    def _decoded(self, row: int) -> NDArray[np.uint8]:
        header = header_of(self.pictures[row].tobytes())  # check the size before anything is allocated
        found = (header.height, header.width) if header and header.kind == "JPEG" else None
        try:
            picture = cv2.imdecode(self.pictures[row], cv2.IMREAD_COLOR) if found == self.size else None
        except cv2.error:
            picture = None
        if picture is None or picture.shape[:2] != self.size:
            shard, index = self.origins[row]
            kind = f"is of {found[0]}x{found[1]}" if found and found != self.size else "does not decode as a JPEG"
            raise ValueError(
                f"{self.shards[shard]}, row {index}: the picture {kind}, expected {self.size[0]}x{self.size[1]}; "
                "copy the pack again or pack again"
            )
        return picture.astype(np.uint8, copy=False)


@dataclass(frozen=True)
class Packed:
    """Summary of a written pack."""

    people: int
    bad: tuple[str, ...] = ()
    """A sentence for each image that was left out, or of which people were."""


def stored_size(spec: PoseSpec) -> tuple[int, int]:
    """(height, width) of stored crops, px, for networks of `spec`."""
    height, width = spec.input_size
    return round(height * MARGIN), round(width * MARGIN)


def stored_affines(boxes: NDArray[np.float64], spec: PoseSpec) -> Affines:
    """Affines (N, 2, 3) from px of the stored crop to image px; the person's usual crop lies in its middle."""
    affines = person_affines(boxes, spec)
    margins = (np.array(stored_size(spec)[::-1]) - spec.input_size[::-1]) / 2
    affines[:, :, 2] -= affines[:, :, :2] @ margins
    return affines


def write_pack(
    folder: Path,
    sources: Mapping[str, PoseData],
    spec: PoseSpec,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = lambda images: images,
) -> Packed:
    """Write a pack of all people with keypoints, for networks of `spec`.

    `sources` holds the people by the name of their data folder. `folder` is written atomically. Unreadable images are
    left out with their people and listed; ValueError if no people are left.
    """
    bad: list[str] = []
    check_size(stored_size(spec))
    with atomic_folder(folder) as unfinished:
        shard = ShardWriter(unfinished, stored_size(spec))
        for name, source in sources.items():
            people = source.with_keypoints()
            for path, rows in progress(list(people.by_image())):
                usable = rows[_usable(people.take(rows))]
                if len(usable) < len(rows):
                    count = len(rows) - len(usable)
                    bad.append(f"{printable(str(path))}: {count} people without a finite place and a positive area")
                try:
                    if len(usable):
                        shard.add(name, path, people.take(usable), spec)
                except (ValueError, OSError, cv2.error) as error:
                    if is_full(error):
                        raise
                    bad.append(_one_line(path, error))
        shard.flush()
        if bad:
            shown = "\n  ".join(bad[:SHOWN])
            log.warning("%d pictures were left out, or people of them; the first:\n  %s", len(bad), shown)
        if not shard.people:
            raise ValueError(f"nobody with keypoints {'is left' if bad else 'is there'}: there is nothing to pack")
        (unfinished / SKELETON).write_text(json.dumps(asdict(spec.skeleton), indent=1) + "\n", encoding="utf-8")
    return Packed(shard.people, tuple(bad))


def read_pack(folder: Path) -> Pack:
    """Read all shards of a pack; ValueError for mixed kinds of crops or a damaged file."""
    paths = tuple(sorted(folder.glob("pack_*.npz")))
    if not paths:
        raise FileNotFoundError(f"{folder} is no pack: it has no pack_*.npz; `lehrnet pack` writes one")
    parts = [read_shard(path) for path in paths]
    kinds = {(part.size, part.keypoints.shape[1]) for part in parts}
    if len(kinds) > 1:
        told = " and ".join(f"{height}x{width} with {joints} joints" for (height, width), joints in sorted(kinds))
        raise ValueError(f"{folder} mixes packs of crops of {told}; expected one kind")
    return Pack(
        pictures=[picture for part in parts for picture in part.pictures],
        keypoints=np.concatenate([part.keypoints for part in parts]),
        areas=np.concatenate([part.areas for part in parts]),
        held_out=np.concatenate([part.held_out for part in parts]),
        sources=np.concatenate([part.sources for part in parts]),
        size=parts[0].size,
        shards=paths,
        origins=np.concatenate(
            [
                np.column_stack((np.full(len(part.areas), number), np.arange(len(part.areas))))
                for number, part in enumerate(parts)
            ]
        ),
        skeleton=_read_skeleton(folder / SKELETON, parts[0].keypoints.shape[1]),
    )


def _read_skeleton(path: Path, joints: int) -> Skeleton | None:
    """The pack's skeleton; None where it has none, ValueError for one of another number of joints."""
    if not path.exists():
        return None
    content = read_json(path, LARGEST_SKELETON)
    with naming(path):
        skeleton = parse(Skeleton, content)
        if len(skeleton) != joints:
            raise ValueError(f"it has {len(skeleton)} joints, but the pack {joints}; pack again")
    return skeleton


def _one_line(path: Path, error: Exception) -> str:
    text = printable(" ".join(str(error).split()))
    return text if path.name in text else f"{printable(str(path))}: {text}"


class ShardWriter:
    """Collects people and writes them to numbered shards of about SHARD_BYTES."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self.folder, self.size, self.people, self.files = folder, size, 0, 0
        self.bytes = 0
        self.waiting: list[tuple[NDArray[np.uint8], NDArray[np.float64], float, bool, str]] = []

    def add(self, source: str, path: Path, people: PoseData, spec: PoseSpec) -> None:
        """Add the people on an image; ValueError if it cannot be read."""
        image, affines = people.picture(0), stored_affines(people.boxes, spec)
        keypoints = people.keypoints.copy()
        keypoints[..., :2] = transform_points(keypoints[..., :2], invert_affines(affines))
        keypoints[..., :2] = keypoints[..., :2].clip(-FARTHEST, FARTHEST)  # of a person smaller than a pixel
        held_out = is_held_out(path)
        for row, affine in enumerate(affines):
            crop = sample_upright(image, affine, self.size).round().astype(np.uint8)
            _, encoded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            area = people.areas[row] / affine[0, 0] ** 2
            self.put(np.asarray(encoded, np.uint8), keypoints[row], area, held_out=held_out, source=source)

    def put(
        self, encoded: NDArray[np.uint8], keypoints: NDArray[np.float64], area: float, *, held_out: bool, source: str
    ) -> None:
        """Add a person: the encoded crop, keypoints (K, 3) in its px and the area in px^2."""
        self.waiting.append((encoded, keypoints, area, held_out, source))
        self.people += 1
        self.bytes += len(encoded)
        if self.bytes >= SHARD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the collected people to the next shard."""
        if not self.waiting:
            return
        pictures, keypoints, areas, held_out, sources = zip(*self.waiting, strict=True)
        np.savez(
            self.folder / f"pack_{self.files:03d}.npz",
            format=FORMAT,
            bytes=np.concatenate(pictures),
            lengths=np.array([len(picture) for picture in pictures], np.int64),
            keypoints=np.stack(keypoints),
            areas=np.array(areas),
            held_out=np.array(held_out),
            sources=np.array(sources),
            size=np.array(self.size, np.int64),
        )
        self.files, self.bytes, self.waiting = self.files + 1, 0, []


def _usable(people: PoseData) -> NDArray[np.bool_]:
    """Mask (N,) of people that can be packed: finite box and keypoints, valid visibilities, finite positive area."""
    finite = np.isfinite(people.keypoints).all((1, 2)) & np.isfinite(people.boxes).all(1)
    visible = np.isin(people.keypoints[:, :, 2], (0, 1, 2)).all(1)
    return finite & visible & (people.areas > 0) & np.isfinite(people.areas)

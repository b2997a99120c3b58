"""A pack: everyone's crop as JPEG with the keypoints in it, in few files. Made once, read fast, easy to carry.

A stored crop shows more than a view does (MARGIN), so that a view may be rotated and scaled without reading the
photograph again.
"""

import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..files import atomic_folder
from ..pose.augment import MARGIN
from ..pose.crop import Affines, invert_affines, person_affines, sample_upright, transform_points
from ..pose.data import PoseData, is_held_out
from ..pose.pictures import read_image
from ..pose.spec import PoseSpec

JPEG_QUALITY = 92
SHARD_BYTES = 48 << 20
FORMAT = "lehrnet-pack-2"


@dataclass(frozen=True)
class Pack:
    """N people in memory; the pictures stay JPEG until they are asked for."""

    pictures: Sequence[NDArray[np.uint8]]
    """N encoded crops."""
    keypoints: NDArray[np.float64]
    """(N, K, 3) in px of the stored crop."""
    areas: NDArray[np.float64]
    """(N,) of the person, px^2 of the stored crop."""
    held_out: NDArray[np.bool_]
    """(N,) for validation, by image: nobody is on both sides."""
    sources: NDArray[np.str_]
    """(N,) the name of the data folder that a person comes from."""
    size: tuple[int, int]
    """Height and width of a stored crop."""

    def __len__(self) -> int:
        return len(self.pictures)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "Pack":
        """Some of the people."""
        chosen = np.arange(len(self))[rows]
        return replace(
            self,
            pictures=[self.pictures[row] for row in chosen],
            keypoints=self.keypoints[chosen],
            areas=self.areas[chosen],
            held_out=self.held_out[chosen],
            sources=self.sources[chosen],
        )

    def decode(self, rows: NDArray[np.integer], threads: ThreadPoolExecutor) -> NDArray[np.uint8]:
        """Stored crops (n, H, W, 3) in RGB; OpenCV decodes without the GIL, so threads are enough."""
        crops = np.empty((len(rows), *self.size, 3), np.uint8)

        def one(place: int) -> None:
            picture = cv2.imdecode(self.pictures[rows[place]], cv2.IMREAD_COLOR)
            assert picture is not None  # we encoded it
            crops[place] = picture[..., ::-1]

        list(threads.map(one, range(len(rows))))
        return crops


def stored_size(spec: PoseSpec) -> tuple[int, int]:
    """Height and width of stored crops for views of `spec`."""
    height, width = spec.input_size
    return round(height * MARGIN), round(width * MARGIN)


def stored_affines(boxes: NDArray[np.float64], spec: PoseSpec) -> Affines:
    """Affines from px of the stored crop to image px: the view's own, which lies in the middle."""
    affines = person_affines(boxes, spec)
    margins = (np.array(stored_size(spec)[::-1]) - spec.input_size[::-1]) / 2
    affines[:, :, 2] -= affines[:, :, :2] @ margins
    return affines


def write_pack(
    folder: Path,
    sources: Mapping[str, PoseData],
    spec: PoseSpec,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = lambda images: images,
) -> int:
    """Pack everyone with keypoints for networks of `spec`; returns how many.

    `sources` are the people by the name of where they come from. `folder` appears whole or not at all.
    """
    with atomic_folder(folder) as unfinished:
        shard = _Shard(unfinished, stored_size(spec))
        for name, source in sources.items():
            people = source.with_keypoints()
            for path, rows in progress(list(people.by_image())):
                shard.add(name, path, people.take(rows), spec)
        shard.flush()
        if not shard.people:
            raise ValueError("nobody has keypoints: there is nothing to pack")
    return shard.people


def read_pack(folder: Path) -> Pack:
    """Read every shard of a pack; ValueError for a folder of another kind or a damaged file."""
    shards = sorted(folder.glob("pack_*.npz"))
    if not shards:
        raise FileNotFoundError(f"{folder} is no pack: it has no pack_*.npz; `lehrnet pack` writes one")
    parts = [_read_shard(path) for path in shards]
    if len({part.size for part in parts}) > 1:
        raise ValueError(f"{folder} mixes packs of crops of different sizes")
    return Pack(
        pictures=[picture for part in parts for picture in part.pictures],
        keypoints=np.concatenate([part.keypoints for part in parts]),
        areas=np.concatenate([part.areas for part in parts]),
        held_out=np.concatenate([part.held_out for part in parts]),
        sources=np.concatenate([part.sources for part in parts]),
        size=parts[0].size,
    )


def _read_shard(path: Path) -> Pack:
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["format"]) != FORMAT:
                raise ValueError(f"its format is {file['format']}, expected {FORMAT}")
            pictures = np.split(file["bytes"], np.cumsum(file["lengths"])[:-1])
            height, width = file["size"].tolist()
            return Pack(pictures, file["keypoints"], file["areas"], file["held_out"], file["sources"], (height, width))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read as part of a pack: {error}") from error


class _Shard:
    """Collects people and writes them to numbered files of about SHARD_BYTES."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self.folder, self.size, self.people, self.files = folder, size, 0, 0
        self.waiting: list[tuple[NDArray[np.uint8], NDArray[np.float64], float, bool, str]] = []

    def add(self, source: str, path: Path, people: PoseData, spec: PoseSpec) -> None:
        image, affines = read_image(path), stored_affines(people.boxes, spec)
        keypoints = people.keypoints.copy()
        keypoints[..., :2] = transform_points(keypoints[..., :2], invert_affines(affines))
        held_out = is_held_out(path)
        for row, affine in enumerate(affines):
            crop = sample_upright(image, affine, self.size).round().astype(np.uint8)
            _, encoded = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            area = people.areas[row] / affine[0, 0] ** 2
            self.waiting.append((encoded, keypoints[row], area, held_out, source))
            self.people += 1
        if sum(len(picture) for picture, *_ in self.waiting) >= SHARD_BYTES:
            self.flush()

    def flush(self) -> None:
        if not self.waiting:
            return
        pictures, keypoints, areas, held_out, sources = zip(*self.waiting, strict=True)
        np.savez(
            self.folder / f"pack_{self.files:03d}.npz",
            format=FORMAT,
            bytes=np.concatenate(pictures),
            lengths=np.array([len(picture) for picture in pictures]),
            keypoints=np.stack(keypoints),
            areas=np.array(areas),
            held_out=np.array(held_out),
            sources=np.array(sources),
            size=np.array(self.size),
        )
        self.files, self.waiting = self.files + 1, []

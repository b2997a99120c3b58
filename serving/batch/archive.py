"""What an archive holds: its pictures and videos, cut into parts that are done, written and checked one by one."""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ...pose.boxes import PERSON_CATEGORY, PersonBoxes, read_boxes
from ...pose.data import ImageId
from ...pose.spec import PoseSpec
from ...runtime.predict import IMAGE_SUFFIXES, open_source, unique_ids
from ...runtime.video.opencv import VideoFile
from ...runtime.video.opening import VIDEO_SUFFIXES

PART_PICTURES = 256
SEGMENT_S = 60.0


@dataclass(frozen=True)
class Picture:
    """A picture of the archive."""

    name: str
    """Its path below the archive's root, with forward slashes."""
    image_id: ImageId
    people: PersonBoxes | None = None
    """Its people's boxes; None: the detector's, or one person who fills the picture."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a video: the frames from `start_s` on and before `end_s`, since its first one."""

    name: str
    """The video's path below the archive's root."""
    start_s: float
    end_s: float | None
    """None: to the end."""


@dataclass(frozen=True)
class Part:
    """What is done and written as a whole: some pictures, or a segment of a video."""

    index: int
    pictures: tuple[Picture, ...] = ()
    segment: Segment | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of what it is to hold, by which a written part is known."""
        facts = [(each.name, each.image_id, each.people and len(each.people.boxes)) for each in self.pictures]
        text = json.dumps([facts, None if self.segment is None else asdict(self.segment)])
        return hashlib.sha256(text.encode()).hexdigest()


Chain = tuple[Part, ...]
"""Parts that one worker does in order: pictures' parts stand alone, a video's segments share one pass through it."""


@dataclass(frozen=True)
class Archive:
    """A listed archive."""

    address: str
    """A file, a folder, or an address of fsspec, as s3://bucket/folder."""
    parts: tuple[Part, ...]
    category: ImageId = PERSON_CATEGORY
    """COCO category_id of a person."""
    left_out: int = 0
    """Pictures without an entry in the box file."""

    @property
    def digest(self) -> str:
        """SHA-256 of all that it holds."""
        return hashlib.sha256("".join(part.digest for part in self.parts).encode()).hexdigest()

    def chains(self, unfinished: Iterable[Part], workers: int) -> list[Chain]:
        """The unfinished parts, those of a video in as many runs as there are workers."""
        chains: list[Chain] = []
        videos: dict[str, list[Part]] = {}
        for part in unfinished:
            if part.segment is None:
                chains.append((part,))
            else:
                videos.setdefault(part.segment.name, []).append(part)
        for parts in videos.values():
            length = math.ceil(len(parts) / workers)
            chains += [tuple(parts[start : start + length]) for start in range(0, len(parts), length)]
        return chains


def list_archive(
    address: str,
    spec: PoseSpec,
    boxes: Path | None = None,
    *,
    part_pictures: int = PART_PICTURES,
    segment_s: float = SEGMENT_S,
    leave_out: Path | None = None,
    category: int | None = None,
) -> Archive:
    """List the pictures and videos of a file, a folder with its subfolders, or an address of fsspec.

    `boxes` as for `lehrnet predict`; a box file of a video is read by the step. What lies in `leave_out`, the folder
    of results, is not listed.

    Raises:
        ValueError: nothing to do, a box file that fits none of the pictures, or sizes below 1.
        FileNotFoundError: no such file or folder.
        ImportError: an address, without fsspec.
    """
    if part_pictures < 1 or not segment_s > 0:
        raise ValueError(f"a part has {part_pictures} pictures and a segment {segment_s:g} s, expected more than 0")
    listed = _list_address(address) if "://" in address else _list_folder(Path(address), leave_out)
    pictures = [name for name in listed if _suffix(name) not in VIDEO_SUFFIXES]
    videos = [name for name in listed if _suffix(name) in VIDEO_SUFFIXES]
    if not listed:
        raise ValueError(
            f"{address} holds no pictures ({', '.join(IMAGE_SUFFIXES)}) and no videos "
            f"({', '.join(VIDEO_SUFFIXES[:3])}, ...)"
        )
    if boxes is not None and videos and len(listed) > 1:
        raise ValueError(
            f"{boxes}: a box file is for pictures or for one video, but {address} holds {len(videos)} videos"
        )
    found = (
        _with_boxes(address, pictures, spec, boxes, leave_out=leave_out, category=category)
        if pictures
        else _Pictures(())
    )
    pieces = [Part(0, found.all[at : at + part_pictures]) for at in range(0, len(found.all), part_pictures)]
    pieces += [Part(0, (), each) for name in videos for each in _segments(address, name, segment_s)]
    parts = tuple(replace(part, index=index) for index, part in enumerate(pieces))
    return Archive(address, parts, found.category, len(pictures) - len(found.all))


def file_of(address: str, name: str) -> Path:
    """Path of a file of a local archive."""
    return Path(address) / name if Path(address).is_dir() else Path(address)


@dataclass(frozen=True)
class Store:
    """A folder at an address of fsspec."""

    system: Any
    folder: str
    """Its path in the file system; empty: the root."""
    only: str | None = None
    """The file that was named, if it was not a folder."""

    def path(self, name: str) -> str:
        """Path of a file of the folder."""
        return f"{self.folder}/{name}" if self.folder else name


def open_address(address: str) -> Store:
    """The folder at an address, or the one that holds the file there.

    FileNotFoundError if nothing is there; ImportError without fsspec, or without its package for such addresses.
    """
    try:
        import fsspec  # noqa: PLC0415 - addresses only
    except ImportError as error:
        raise ImportError(f"{address} takes fsspec: pip install 'lehrnet[batch]'") from error
    try:
        system, path = fsspec.core.url_to_fs(address)
    except ImportError as error:  # s3fs, gcsfs, ...
        raise ImportError(f"{address}: {error}") from error
    path = path.rstrip("/")
    if system.isfile(path):
        folder, _, name = path.rpartition("/")
        return Store(system, folder, name)
    if not system.exists(path):
        raise FileNotFoundError(f"nothing at {address}")
    return Store(system, path)


@dataclass(frozen=True)
class _Pictures:
    """Pictures with their ids, and the category of their people."""

    all: tuple[Picture, ...]
    category: ImageId = PERSON_CATEGORY


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _list_folder(root: Path, leave_out: Path | None) -> list[str]:
    """Names of the pictures and videos of a folder and its subfolders, in order; or of a single file."""
    if root.is_file():
        return [root.name]
    if not root.is_dir():
        raise FileNotFoundError(f"no file or folder at {root}")
    avoided = None if leave_out is None else leave_out.resolve()
    found = []
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = [name for name in folders if not name.startswith(".") and (here / name).resolve() != avoided]
        found += [(here / name).relative_to(root).as_posix() for name in names if _is_ours(name)]
    return sorted(found)


def _list_address(address: str) -> list[str]:
    store = open_address(address)
    if store.only is not None:
        return [store.only]
    start = store.path("")
    names = [name.removeprefix(start) for name in store.system.find(store.folder) if _is_ours(name)]
    return sorted(name for name in names if not any(part.startswith(".") for part in PurePosixPath(name).parts[:-1]))


def _is_ours(name: str) -> bool:
    return _suffix(name) in IMAGE_SUFFIXES + VIDEO_SUFFIXES


def _with_boxes(
    address: str,
    names: Sequence[str],
    spec: PoseSpec,
    boxes: Path | None,
    *,
    leave_out: Path | None,
    category: int | None,
) -> _Pictures:
    """The pictures that are to be looked at: all of them, or those that the box file has."""
    if "://" not in address:
        source = open_source(Path(address), spec, boxes, out=leave_out, category=category)
        people = source.boxes
        kept = [path for path in source.pictures if people is None or path in people]
        made = (Picture(source.name(path), source.ids[path], None if people is None else people[path]) for path in kept)
        return _Pictures(tuple(made), source.category)
    root = Path("/")  # the address's: nothing is read from it
    paths = [root / name for name in names]
    people = None if boxes is None else read_boxes(boxes, paths, root=root, skeleton=spec.skeleton, category=category)
    ids = unique_ids(paths) | {
        path: each.image_id for path, each in (people or {}).items() if each.image_id is not None
    }
    pairs = [(name, path) for name, path in zip(names, paths, strict=True) if people is None or path in people]
    if not pairs:
        raise ValueError(f"{boxes} has boxes for none of the {len(names)} pictures, the first being {names[0]}")
    return _Pictures(tuple(Picture(name, ids[path], None if people is None else people[path]) for name, path in pairs))


def _segments(address: str, name: str, segment_s: float) -> list[Segment]:
    """The segments of a video; one where its length is not known, as of a video at an address."""
    whole = [Segment(name, 0.0, None)]
    if "://" in address:
        return whole
    try:
        with VideoFile(file_of(address, name)) as video:
            length = (video.count or 0) / (video.rate or 1.0)
    except ValueError:  # the step says it, in the results
        return whole
    count = max(math.ceil(length / segment_s), 1)
    ends = [*(segment_s * (index + 1) for index in range(count - 1)), None]
    return [Segment(name, segment_s * index, end) for index, end in enumerate(ends)]

"""The step that both engines run: a chain of parts in, the parts' files out. One worker holds one session."""

import math
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...pose.boxes import PERSON_CATEGORY, PersonBoxes
from ...pose.crop import Image
from ...pose.data import ImageId
from ...pose.pictures import MAX_PIXELS, decode_image, read_image, read_image_of
from ...pose.results import coco_results
from ...runtime.detect import DetectorOptions, PersonDetector
from ...runtime.estimator import PoseEstimator, Poses, whole_image
from ...runtime.session import Trust
from ...runtime.video.frame_boxes import FrameBoxes
from ...runtime.video.opencv import VideoFile
from .archive import Chain, Part, Picture, file_of, open_address
from .parts import Form, write_part
from .rows import Done, Row

GROUP, GROUP_PIXELS = 16, 64_000_000
"""Most pictures, and most of their pixels, whose people share a batch: both are in memory at once."""
ROW_S_OWN = (ValueError, OSError, RuntimeError, MemoryError, cv2.error)
"""What costs a picture its row's result, and not the run."""


@dataclass(frozen=True)
class Job:
    """What every worker is told; it travels to other machines, whose paths are the same."""

    address: str
    bundle: Path
    out: Path
    form: Form = "json"
    artefact: str = "auto"
    device: str = "auto"
    threads: int | None = None
    trust_engine: Trust = False
    detector: Path | None = None
    detector_kind: str = "auto"
    detector_options: DetectorOptions = field(default_factory=DetectorOptions)
    video_boxes: Path | None = None
    """Boxes by frame, of an archive that is one video."""
    category: ImageId = PERSON_CATEGORY
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True)
class _Looked:
    """A picture or a frame that was read, or why it was not."""

    row: Row
    image: Image | None = None
    people: PersonBoxes | None = None


class Step:
    """Does parts; see `Job`. One thread at a time."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.estimator = PoseEstimator.open(
            job.bundle, job.artefact, job.device, threads=job.threads, trust_engine=job.trust_engine
        )
        self.detector = (
            None
            if job.detector is None
            else PersonDetector.open(
                job.detector, job.detector_kind, job.detector_options, device=job.device, threads=job.threads
            )
        )
        self.video_boxes = None if job.video_boxes is None else FrameBoxes(job.video_boxes)
        self.store = open_address(job.address) if "://" in job.address else None

    def __call__(
        self, chain: Chain, avoid: frozenset[str] = frozenset(), at: Callable[[str], None] = lambda _: None
    ) -> Iterator[Done]:
        """Do the parts of a chain in order and write each.

        `avoid` are pictures that ended a process before and get an error at once; `at` is told what is being read.
        """
        for part, looked in self._parts(chain, avoid, at):
            started = time.perf_counter()
            rows = [row for group in _groups(looked) for row in self._rows(group)]
            write_part(self.job.out, part, rows, self.job.form)
            yield Done.of(part.index, rows, time.perf_counter() - started)

    def _parts(
        self, chain: Chain, avoid: frozenset[str], at: Callable[[str], None]
    ) -> Iterator[tuple[Part, Iterator[_Looked]]]:
        if chain[0].segment is not None:
            yield from self._video(chain, avoid, at)
            return
        for part in chain:
            yield part, (self._look(picture, avoid, at) for picture in part.pictures)

    def _look(self, picture: Picture, avoid: frozenset[str], at: Callable[[str], None]) -> _Looked:
        row = Row(picture.name, picture.image_id)
        if picture.name in avoid:
            return _Looked(replace(row, error=f"{picture.name} ended the process that read it, twice: left out"))
        at(picture.name)
        try:
            image = self._read(picture)
            people = picture.people or self._people(image)
        except ROW_S_OWN as error:
            return _Looked(replace(row, error=str(error)))
        return _Looked(replace(row, height=image.shape[0], width=image.shape[1]), image, people)

    def _read(self, picture: Picture) -> Image:
        size, most = None if picture.people is None else picture.people.size, self.job.max_pixels
        if self.store is not None:
            content = self.store.system.cat_file(self.store.path(picture.name))
            return decode_image(content, picture.name, max_pixels=most, size=size)
        path = file_of(self.job.address, picture.name)
        return read_image(path, max_pixels=most) if size is None else read_image_of(path, size, max_pixels=most)

    def _people(self, image: Image, frame: int | None = None) -> PersonBoxes:
        """People of a picture without boxes of its own: the detector's, or one who fills it."""
        if frame is not None and self.video_boxes is not None:
            return PersonBoxes(*self.video_boxes(frame))
        if self.detector is not None:
            return PersonBoxes(*self.detector(image))
        return PersonBoxes(*_filled(image))

    def _rows(self, group: Sequence[_Looked]) -> list[Row]:
        """The rows of pictures whose people share a batch; if that fails, of each by itself."""
        pairs = [
            (each.image, each.people.boxes) for each in group if each.image is not None and each.people is not None
        ]
        try:
            poses = iter(self.estimator.run_many(pairs))
        except ROW_S_OWN as error:
            if len(group) > 1:
                return [row for each in group for row in self._rows([each])]
            return [replace(each.row, error=str(error)) for each in group]
        return [each.row if each.people is None else self._row(each.row, each.people, next(poses)) for each in group]

    def _row(self, row: Row, people: PersonBoxes, poses: Poses) -> Row:
        results = coco_results(
            np.concatenate((poses.xy, poses.score[..., None]), axis=2),
            poses.boxes,
            image_id=row.image_id,
            category_id=self.job.category,
            skeleton=self.estimator.spec.skeleton,
            box_scores=people.scores,
            extra={"file_name": row.file_name},
        )
        return replace(row, people=tuple(results))

    def _video(
        self, chain: Chain, avoid: frozenset[str], at: Callable[[str], None]
    ) -> Iterator[tuple[Part, Iterator[_Looked]]]:
        """The frames of a video's segments, in one pass; what is wrong with the video is a row where it was met."""
        frames = self._frames(chain, avoid, at)
        waiting = next(frames, None)

        def until(end_s: float) -> Iterator[_Looked]:
            nonlocal waiting
            while waiting is not None and (waiting.row.time_s or 0.0) < end_s:
                yield waiting
                waiting = next(frames, None)

        for part in chain:
            assert part.segment is not None
            yield part, until(math.inf if part.segment.end_s is None else part.segment.end_s)

    def _frames(self, chain: Chain, avoid: frozenset[str], at: Callable[[str], None]) -> Iterator[_Looked]:
        first, last = chain[0].segment, chain[-1].segment
        assert first is not None
        assert last is not None
        name, row = first.name, Row(first.name, first.name, time_s=first.start_s)
        if name in avoid:
            yield _Looked(replace(row, error=f"{name} ended the process that read it, twice: left out"))
            return
        at(name)
        try:
            with self._video_file(name) as path, VideoFile(path, first.start_s, last.end_s or math.inf) as video:
                for frame in video:
                    height, width = frame.image.shape[:2]
                    row = Row(name, f"{name}#{frame.index}", (), width, height, frame.index, frame.time_s)
                    yield _Looked(row, frame.image, self._people(frame.image, frame.index))
        except ROW_S_OWN as error:
            yield _Looked(Row(name, name, time_s=row.time_s, error=str(error)))

    @contextmanager
    def _video_file(self, name: str) -> Iterator[Path]:
        """The path of a video; a copy for as long as it is read, if it lies at an address."""
        if self.store is None:
            yield file_of(self.job.address, name)
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / Path(name).name
            self.store.system.get_file(self.store.path(name), str(copy))
            yield copy


def _filled(image: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array([whole_image(image)]), np.ones(1)


def _groups(looked: Iterator[_Looked]) -> Iterator[list[_Looked]]:
    """Pictures in groups of at most GROUP, and of few pixels where they are large."""
    group, pixels = [], 0
    for each in looked:
        group.append(each)
        pixels += 0 if each.image is None else each.image.shape[0] * each.image.shape[1]
        if len(group) == GROUP or pixels >= GROUP_PIXELS:
            yield group
            group, pixels = [], 0
    if group:
        yield group


def portable(error: Exception) -> Exception:
    """The exception, or one with its words if it cannot be sent to another process."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        return error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")

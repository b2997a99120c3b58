"""Prediction on image files: keypoints as COCO results and as drawings."""

import itertools
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..files import atomic_file, write_bytes, write_text
from ..parsing import naming, read_json
from ..pose.batches import BadPicture
from ..pose.boxes import PERSON_CATEGORY, KnownImages, PersonBoxes, match_names, read_boxes
from ..pose.coco import NOT_NEEDED, find_labels, is_id, person_category
from ..pose.crop import Image
from ..pose.data import ImageId
from ..pose.pictures import MAX_PIXELS, read_image, read_image_of
from ..pose.results import coco_results
from ..pose.skeleton import Skeleton
from ..pose.spec import PoseSpec
from .draw import draw_poses
from .estimator import PoseEstimator, Poses, whole_image

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
MAX_WARNINGS = 3  # images without boxes that are logged as warnings; the others are only counted
RESULTS, LINES, FAILURES = "keypoints.json", "keypoints.jsonl", "failures.json"


Detector = Callable[[Image], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Boxes (N, 4) xyxy in image px and scores (N,) of the people in a BGR image (H, W, 3)."""


@dataclass(frozen=True)
class Prediction:
    """The poses found in one image file."""

    path: Path
    image: Image
    people: PersonBoxes
    poses: Poses


@dataclass(frozen=True)
class Source:
    """Images to process, with their boxes and the ids that results use."""

    root: Path
    """Folder that image names in results are relative to."""
    pictures: tuple[Path, ...]
    ids: Mapping[Path, ImageId]
    """COCO image_id of each image."""
    boxes: Mapping[Path, PersonBoxes] | None = None
    """Boxes by image; None: one person fills each image."""
    category: ImageId = PERSON_CATEGORY
    """COCO category_id of a person."""
    single: bool = False
    """Whether the source is a single file, which must be readable; in a folder, unreadable files are skipped."""

    def name(self, picture: Path) -> str:
        """An image's path relative to the root, with forward slashes; it is unique."""
        return picture.relative_to(self.root).as_posix()


@dataclass
class Summary:
    """Counts of a prediction run, and the images that could not be read."""

    images: int = 0
    people: int = 0
    without_boxes: int = 0
    bad: list[BadPicture] = field(default_factory=list)


def list_images(source: Path, leave_out: Path | None = None) -> list[Path]:
    """The image `source`, or all images in the folder `source` and its subfolders, except those in `leave_out`."""
    if not source.is_dir():
        if not source.exists():
            raise FileNotFoundError(f"no image at {source}")
        return [source]
    avoided = None if leave_out is None or leave_out.resolve() == source.resolve() else leave_out.resolve()
    found = []
    for folder, folders, names in os.walk(source):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and (here / name).resolve() != avoided)
        found += [here / name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise ValueError(f"no images in {source}; their names end in {', '.join(IMAGE_SUFFIXES)}")
    return sorted(found)


def open_source(
    source: Path, spec: PoseSpec, boxes: Path | None = None, *, out: Path | None = None, category: int | None = None
) -> Source:
    """List the images of a file or folder, without those in `out`, and read their boxes from a box file.

    ValueError if the box file has none of the images.
    """
    pictures = list_images(source, out)
    root = source if source.is_dir() else source.parent
    ids = unique_ids(pictures)
    if boxes is None:
        return Source(root, tuple(pictures), ids, single=root != source)
    known = _LabelsBeside(root, pictures, spec)
    within = root if source.is_dir() else None
    people = read_boxes(boxes, pictures, root=within, skeleton=spec.skeleton, known=known, category=category)
    if not people:
        raise ValueError(f"{boxes} has boxes for none of the {len(pictures)} images, the first being {pictures[0]}")
    ids |= {path: each.image_id for path, each in people.items() if each.image_id is not None}
    kind = known.found.category if known.found else PERSON_CATEGORY
    return Source(root, tuple(pictures), ids, people, kind, single=root != source)


def unique_ids(pictures: Sequence[Path]) -> dict[Path, ImageId]:
    """Image ids: a file name of digits is its id, as in COCO, if unique; otherwise a number by position."""
    numbers = {path: int(path.stem) for path in pictures if path.stem.isdecimal() and len(path.stem) < 19}
    counts = Counter(numbers.values())
    ids: dict[Path, ImageId] = {path: number for path, number in numbers.items() if counts[number] == 1}
    taken = set(ids.values())
    for index, path in enumerate(pictures, 1):
        if path not in ids:
            ids[path] = next(number for number in itertools.count(index, len(pictures)) if number not in taken)
            taken.add(ids[path])
    return ids


class _LabelsBeside:
    """The label file found beside the images, if any; it is read only when detections refer to image ids."""

    def __init__(self, root: Path, pictures: Sequence[Path], spec: PoseSpec) -> None:
        self._root, self._pictures, self._spec = root, pictures, spec
        self.found: KnownImages | None = None

    def __call__(self) -> KnownImages | None:
        for folder in (self._root, self._root.parent):
            try:
                labels, images, _ = find_labels(folder)
            except (OSError, ValueError):  # not a data folder: no labels
                continue
            if folder == self._root or images.resolve() == self._root.resolve():
                self.found = self._read(labels)
                log.warning("image ids are looked up in %s", labels)
                break
        return self.found

    def _read(self, labels: Path) -> KnownImages:
        content = read_json(labels, leave_out=NOT_NEEDED | {"annotations"}, nan=True)
        with naming(labels):
            match content:
                case {"images": list(images)}:
                    entries = [each for each in images if isinstance(each, dict) and is_id(each.get("id"))]
                case _:
                    raise ValueError("it has no list of images, expected COCO's label file")
            names = {each["file_name"]: each["id"] for each in entries if isinstance(each.get("file_name"), str)}
            category = person_category(content.get("categories"), self._spec.skeleton)
            chosen = match_names(names, self._pictures)
        ids = {names[name]: picture for name, picture in chosen.items()}
        return KnownImages(ids, PERSON_CATEGORY if category is None else category)


def predict_files(
    estimator: PoseEstimator,
    source: Source,
    summary: Summary | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    detector: Detector | None = None,
    progress: Callable[[Sequence[Path]], Any] = lambda paths: paths,
) -> Iterator[Prediction]:
    """Yield a prediction per file. Unreadable files of a folder are recorded in `summary`; without it they raise.

    `detector` finds the people of each image (H, W, 3) BGR where the source has no boxes.
    """
    for path in progress(source.pictures):
        known = None if source.boxes is None else source.boxes.get(path)
        if source.boxes is not None and known is None:
            count = 1 if summary is None else summary.without_boxes + 1
            log.log(logging.WARNING if count <= MAX_WARNINGS else logging.INFO, "%s has no boxes: left out", path)
            if summary is not None:
                summary.without_boxes = count
            continue
        try:
            if known is not None and known.size is not None:
                image = read_image_of(path, known.size, max_pixels=max_pixels)
            else:
                image = read_image(path, max_pixels=max_pixels)
        except (ValueError, OSError) as error:
            if summary is None or source.single:
                raise
            log.info("%s", error)
            summary.bad.append(BadPicture(path, str(error)))
            continue
        whole = (np.array([whole_image(image)]), np.ones(1))
        people = known or PersonBoxes(*(whole if detector is None else detector(image)))
        yield Prediction(path, image, people, estimator(image, people.boxes))


def predict_to_folder(
    estimator: PoseEstimator,
    source: Source,
    out: Path | None,
    min_score: float | None = None,
    *,
    nms: bool = False,
    max_pixels: int = MAX_PIXELS,
    lines: IO[str] | None = None,
    detector: Detector | None = None,
    progress: Callable[[Sequence[Path]], Any] = lambda paths: paths,
) -> Summary:
    """Predict and write the results and the drawing of each image at once; nothing is kept in memory.

    `out` receives a drawing per image, under the image's name and subfolder; `keypoints.jsonl` with a line per person
    while running, at the end `keypoints.json` with all of them; and `failures.json` if an image could not be read.
    `lines` receives the same JSON lines. ValueError if a drawing would overwrite an input.
    """
    summary, writer = Summary(), None
    if out is not None:
        _check_apart(source, out)
    found = predict_files(estimator, source, summary, max_pixels=max_pixels, detector=detector, progress=progress)
    try:
        for prediction in found:
            if out is not None and writer is None:  # created only once an image was readable
                writer = _new_file(out / LINES)
            summary.images, summary.people = summary.images + 1, summary.people + len(prediction.poses)
            _write_lines(results_of(prediction, source, estimator.spec.skeleton, nms=nms), (writer, lines))
            if out is not None:
                write_picture(out / picture_name(source.name(prediction.path)), prediction, estimator, min_score)
    finally:
        if writer is not None:
            writer.close()
    if out is not None:
        if writer is None:  # no image was readable
            _new_file(out / LINES).close()
        _finish(out, summary)
    return summary


def _write_lines(results: list[dict[str, Any]], files: Iterable[IO[str] | None]) -> None:
    """Append results as JSON lines to each open file."""
    text = "".join(json.dumps(result) + "\n" for result in results)
    for file in files:
        if file is not None:
            file.write(text)
            file.flush()


def picture_name(name: str) -> str:
    """Name of an image's drawing: the same, or with .png appended if OpenCV cannot write that format."""
    return name if Path(name).suffix.lower() in IMAGE_SUFFIXES else f"{name}.png"


def _check_apart(source: Source, out: Path) -> None:
    """Raise ValueError if a drawing would overwrite one of the images, whatever path leads to it."""
    inputs = {}
    for path in source.pictures:
        facts = path.stat()
        inputs[facts.st_dev, facts.st_ino] = path
    for path in source.pictures:
        target = out / picture_name(source.name(path))
        if target.exists():
            facts = target.stat()
            same = inputs.get((facts.st_dev, facts.st_ino))
            if same is not None:
                raise ValueError(
                    f"--out {out} would write a drawing over the photograph {same}; choose another folder, such as "
                    f"{out / 'drawn'}"
                )


def _finish(out: Path, summary: Summary) -> None:
    """Write all lines as one COCO list, and the failures."""
    with (
        (out / LINES).open(encoding="utf-8") as lines,
        atomic_file(out / RESULTS) as unfinished,
        unfinished.open("w", encoding="utf-8") as file,
    ):
        file.write("[")
        for number, line in enumerate(lines):
            file.write(("," if number else "") + "\n" + line.rstrip("\n"))
        file.write("\n]\n")
    (out / LINES).unlink()
    if summary.bad:
        write_text(out / FAILURES, json.dumps([bad.facts() for bad in summary.bad], indent=1) + "\n")
    else:
        (out / FAILURES).unlink(missing_ok=True)


def _new_file(path: Path) -> IO[str]:
    """Open a new file for writing; a link in its place is removed, not followed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        return path.open("x", encoding="utf-8")
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror}; choose a folder that can be written") from error


def results_of(
    prediction: Prediction, source: Source, skeleton: Skeleton, *, nms: bool = False
) -> list[dict[str, Any]]:
    """COCO results of an image, with its file name; `nms` suppresses duplicate people by OKS."""
    poses = prediction.poses
    return coco_results(
        np.concatenate((poses.xy, poses.score[..., None]), axis=2),
        poses.boxes,
        image_id=source.ids[prediction.path],
        category_id=source.category,
        skeleton=skeleton,
        box_scores=prediction.people.scores,
        nms=nms,
        extra={"file_name": source.name(prediction.path)},
    )


def write_results(path: Path, results: list[dict[str, Any]]) -> None:
    """Write results as JSON, atomically."""
    write_text(path, json.dumps(results) + "\n")


def write_picture(path: Path, prediction: Prediction, estimator: PoseEstimator, min_score: float | None) -> None:
    """Draw the skeletons on the image and write it to `path`, whose suffix selects the format.

    Joints below `min_score`, or below the network's own where it is None, are left out.
    """
    drawn = draw_poses(prediction.image, prediction.poses, estimator.spec.skeleton, min_score)
    done, encoded = cv2.imencode(path.suffix, drawn)
    if not done:
        raise RuntimeError(f"OpenCV could not encode {path}")
    write_bytes(path, encoded.tobytes())

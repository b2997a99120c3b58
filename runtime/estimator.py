"""The pose estimator: keypoints of the people in given boxes of an image."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..pose.crop import Affines, Image, check_boxes, check_image, crop_people
from ..pose.points import find_points
from ..pose.spec import PoseSpec
from .bundle import open_bundle, unless_replaced
from .devices import AUTO
from .inputs import LARGEST_BATCH, is_on_gpu
from .session import Session, Trust, open_artefact, open_pipeline


@dataclass(frozen=True)
class Poses:
    """Keypoints of the people in one image."""

    xy: NDArray[np.float32]
    """(N, K, 2) image px."""
    score: NDArray[np.float32]
    """(N, K) heatmap peak of each joint, between 0 and about 1 for a trained network."""
    boxes: NDArray[np.float64]
    """(N, 4) xyxy, image px: the input boxes."""
    ids: NDArray[np.int64] | None = None
    """(N,) identities from 1 on, if a tracker gave them."""
    smoothed: NDArray[np.float32] | None = None
    """(N, K, 2) image px, if a tracker smooths; `xy` stays as the network found it."""
    min_score: float = PoseSpec.min_score
    """Lowest score of a joint of which the network is sure: `PoseSpec.min_score`."""

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def visible(self) -> NDArray[np.bool_]:
        """(N, K) whether a joint's score is at least `min_score`, so that it is worth drawing."""
        return np.asarray(self.score >= self.min_score)

    @property
    def shown(self) -> NDArray[np.float32]:
        """(N, K, 2) image px: the smoothed joints if there are any, else those that the network found."""
        return self.xy if self.smoothed is None else self.smoothed

    def to_supervision(self) -> tuple[Any, Any]:
        """The poses as `supervision.KeyPoints` and `supervision.Detections`, with identities as `tracker_id`.

        ImportError without the package supervision.
        """
        try:
            import supervision  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError("supervision is not installed: pip install supervision") from error
        people = np.zeros(len(self), int)
        detections = supervision.Detections(
            xyxy=self.boxes.astype(np.float32),
            confidence=self.score.mean(1),
            class_id=people,
            tracker_id=None if self.ids is None else self.ids,
        )
        points = supervision.KeyPoints(xy=self.shown, class_id=people, keypoint_confidence=self.score)
        return points, detections


class Pipeline(Protocol):
    """Crop, network and decode on one device: `cuda.pipeline.CudaPipeline`, `backends.native.NativePipeline`."""

    largest_batch: int
    """Largest number of people in a batch."""

    def close(self) -> None:
        """Free the memory of the pipeline and of its session."""
        ...

    def run(self, batches: Iterable[Sequence[tuple[Image, NDArray[np.float64]]]]) -> Iterator[NDArray[np.float32]]:
        """Yield for each batch of (image, boxes) the keypoints (n, K, 3): x, y in image px and the score."""
        ...


class PoseEstimator:
    """Top-down pose estimator: crops each box, runs the network, decodes the heatmaps. See `PoseEstimator.open`.

    With a pipeline all three steps run on its device (on a CPU: in the C++ library); otherwise crop and decode run in
    Python.

    >>> with PoseEstimator.open("bundle") as estimator:  # written by `lehrnet export`
    ...     poses = estimator(image, boxes=[(10, 0, 74, 120)])  # image (H, W, 3) BGR, as OpenCV reads it; xyxy
    >>> poses.xy.shape, poses.score.shape  # px of the image, and the height of each joint's peak
    ((1, 17, 2), (1, 17))
    """

    def __init__(
        self, session: Session, spec: PoseSpec, *, flip: bool = False, pipeline: Pipeline | None = None
    ) -> None:
        self.session, self.spec, self.flip, self.pipeline = session, spec, flip, pipeline

    @classmethod
    def open(
        cls,
        bundle: str | Path,
        artefact: str = AUTO,
        device: str = "auto",
        *,
        threads: int | None = None,
        flip: bool = False,
        fallback: str | None = None,
        trust_engine: Trust = False,
    ) -> "PoseEstimator":
        """Open a bundle, after checking its hashes. `flip` also runs each mirrored crop and averages the heatmaps.

        `artefact` names the artefact to run: "fp32", "int8", ...; "weights" is PyTorch, "torch_fp16" a fast form of it
        for GPUs; "auto" is FP32 by our own engine on a CPU where the bundle and this machine have it, else "fp32".
        `fallback` names an artefact to run if the first cannot. `device`: see `open_session`. An engine is
        code: it runs only with `trust_engine` True, or with its SHA-256.
        """
        root = Path(bundle)

        def opened() -> PoseEstimator:
            found = open_bundle(root)
            session = open_artefact(found, artefact, device, threads, fallback, trust_engine=trust_engine)
            return cls.of(session, found.spec, flip=flip)

        return unless_replaced(root, opened)

    @classmethod
    def of(cls, session: Session, spec: PoseSpec, *, flip: bool = False) -> "PoseEstimator":
        """Wrap an open session; crop and decode run where the network does if possible, but in Python with `flip`."""
        return cls(session, spec, flip=flip, pipeline=None if flip else open_pipeline(session, spec))

    def __call__(self, image: Image, boxes: ArrayLike | None = None) -> Poses:
        """Keypoints of the people in boxes (N, 4) xyxy, image px, of a BGR image (H, W, 3) of uint8.

        Without boxes, one person is assumed to fill the image. A pipeline also accepts arrays on its GPU by
        `__cuda_array_interface__` or DLPack: PyTorch, CuPy, PyCUDA, JAX.
        """
        return self.run_many([(image, boxes)])[0]

    def __enter__(self) -> "PoseEstimator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the network's memory and GPU buffers; may be called more than once."""
        (self.pipeline or self.session).close()

    def run_many(self, items: Sequence[tuple[Image, ArrayLike | None]]) -> list[Poses]:
        """Keypoints of several (image, boxes) items; the people of all images share batches."""
        if not items:
            return []
        checked: list[tuple[Image, NDArray[np.float64]]] = []
        for image, boxes in items:
            self._check(image)
            checked.append((image, check_boxes([whole_image(image)] if boxes is None else boxes)))
        joints = len(self.spec.skeleton)
        xy = np.concatenate([np.empty((0, joints, 3), np.float32), *self._batches(checked)])
        ends = np.cumsum([len(boxes) for _, boxes in checked])[:-1]
        people = np.split(xy, ends)
        return [
            Poses(found[..., :2], found[..., 2], boxes, min_score=self.spec.min_score)
            for found, (_, boxes) in zip(people, checked, strict=True)
        ]

    def _check(self, image: Any) -> None:
        if not is_on_gpu(image):
            check_image(image)
        elif self.pipeline is None or self.session.device == "cpu":
            raise ValueError(
                f"the frame is on a GPU, but {self.session.backend} crops on the CPU here: copy it to a NumPy array, "
                "or run an engine or torch_fp16 after `make kernels`"
            )

    def _batches(self, items: Sequence[tuple[Image, NDArray[np.float64]]]) -> Iterable[NDArray[np.float32]]:
        """Keypoints (n, K, 3) of each batch, in the order of the boxes."""
        if self.pipeline is not None:
            return self.pipeline.run(_in_batches(items, self.pipeline.largest_batch))
        batches = _in_batches(items, LARGEST_BATCH)
        return (self._keypoints([crop_people(image, boxes, self.spec) for image, boxes in batch]) for batch in batches)

    def _keypoints(self, people: Sequence[tuple[NDArray[np.float32], Affines]]) -> NDArray[np.float32]:
        """Keypoints (n, K, 3) of cropped people: x, y in image px and the score."""
        crops = np.concatenate([crops for crops, _ in people])
        affines = np.concatenate([affines for _, affines in people])
        return find_points(self.session.run, crops, affines, self.spec, flip=self.flip)


def _in_batches(
    items: Sequence[tuple[Image, NDArray[np.float64]]], max_people: int
) -> Iterator[list[tuple[Image, NDArray[np.float64]]]]:
    """Regroup (image, boxes) items into batches of at most `max_people`; an image may be split over batches."""
    parts = [
        (image, boxes[start : start + max_people])
        for image, boxes in items
        for start in range(0, len(boxes), max_people)
    ]
    while parts:
        fitting = int((np.cumsum([len(boxes) for _, boxes in parts]) <= max_people).sum())
        yield parts[:fitting]
        parts = parts[fitting:]


def whole_image(image: Image) -> tuple[float, float, float, float]:
    """The xyxy box that covers an image."""
    return 0.0, 0.0, float(image.shape[1]), float(image.shape[0])

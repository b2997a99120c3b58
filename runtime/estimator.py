"""Pixels and boxes in, keypoints out."""

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
from .inputs import is_on_gpu
from .session import Session, Trust, open_artefact, open_pipeline

LARGEST_BATCH = 32  # crops that are in memory at once: 19 MB of input at 256x192


@dataclass(frozen=True)
class Poses:
    """The people of one image."""

    xy: NDArray[np.float32]
    """(N, K, 2) image px."""
    score: NDArray[np.float32]
    """(N, K) height of each joint's peak; a trained network's lie between 0 and about 1."""
    boxes: NDArray[np.float64]
    """(N, 4) xyxy, image px: as they were given."""

    def __len__(self) -> int:
        return len(self.boxes)


class Pipeline(Protocol):
    """Crop, network and decode on a device of their own: `cuda.pipeline.CudaPipeline`."""

    largest_batch: int
    """People that it takes at once."""

    def close(self) -> None:
        """Give its memory back, and its session's."""
        ...

    def run(self, batches: Iterable[Sequence[tuple[Image, NDArray[np.float64]]]]) -> Iterator[NDArray[np.float32]]:
        """Keypoints (n, K, 3) of the people of batch after batch of images."""
        ...


class PoseEstimator:
    """A session with its crop and its decode. `PoseEstimator.open` is the usual way to one, and `with` closes it.

    With a pipeline all three run on its device; otherwise crop and decode run on the CPU.

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
        artefact: str = "fp32",
        device: str = "auto",
        *,
        threads: int | None = None,
        flip: bool = False,
        fallback: str | None = None,
        trust_engine: Trust = False,
    ) -> "PoseEstimator":
        """Open a bundle; its hashes are checked. `flip` also runs each mirrored crop and averages the heatmaps.

        `artefact` is what of the bundle runs: "fp32", "int8", ...; "weights" is PyTorch, "torch_fp16" its fast form for
        GPUs. `fallback` names another that may run where the first cannot. `device`: see `open_session`. An engine is
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
        """An open session's, with crop and decode on its GPU where that can be; `flip` takes both on the CPU."""
        return cls(session, spec, flip=flip, pipeline=None if flip else open_pipeline(session, spec))

    def __call__(self, image: Image, boxes: ArrayLike | None = None) -> Poses:
        """Keypoints of the people in boxes (N, 4) xyxy of a BGR image (H, W, 3); without boxes, of one who fills it.

        A pipeline also takes frames that are on its GPU, by `__cuda_array_interface__` or DLPack:
        PyTorch's, CuPy's, PyCUDA's, JAX's.
        """
        return self.run_many([(image, boxes)])[0]

    def __enter__(self) -> "PoseEstimator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory of the network back, and the buffers of a GPU; more than once is fine."""
        (self.pipeline or self.session).close()

    def run_many(self, items: Sequence[tuple[Image, ArrayLike | None]]) -> list[Poses]:
        """Keypoints for several images with their boxes; people of all images share the batches."""
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
        return [Poses(found[..., :2], found[..., 2], boxes) for found, (_, boxes) in zip(people, checked, strict=True)]

    def _check(self, image: Any) -> None:
        if not is_on_gpu(image):
            check_image(image)
        elif self.pipeline is None:
            raise ValueError(
                f"the frame lies on a GPU, but {self.session.backend} crops on the CPU here: copy it to a NumPy array, "
                "or run an engine, or torch_fp16, with `make kernels`"
            )

    def _batches(self, items: Sequence[tuple[Image, NDArray[np.float64]]]) -> Iterable[NDArray[np.float32]]:
        """Keypoints (n, K, 3) of batch after batch, in the order of the boxes."""
        if self.pipeline is not None:
            return self.pipeline.run(_in_batches(items, self.pipeline.largest_batch))
        batches = _in_batches(items, LARGEST_BATCH)
        return (self._keypoints([crop_people(image, boxes, self.spec) for image, boxes in batch]) for batch in batches)

    def _keypoints(self, people: Sequence[tuple[NDArray[np.float32], Affines]]) -> NDArray[np.float32]:
        """(n, K, 3): x and y in image px, and the score."""
        crops = np.concatenate([crops for crops, _ in people])
        affines = np.concatenate([affines for _, affines in people])
        return find_points(self.session.run, crops, affines, self.spec, flip=self.flip)


def _in_batches(
    items: Sequence[tuple[Image, NDArray[np.float64]]], max_people: int
) -> Iterator[list[tuple[Image, NDArray[np.float64]]]]:
    """Images with their boxes, so many people at a time; an image of many people comes more than once."""
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
    """The box around all of an image."""
    return 0.0, 0.0, float(image.shape[1]), float(image.shape[0])

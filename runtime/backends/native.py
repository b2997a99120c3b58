"""Our own CPU engine, in the C++ library of `runtime/embed`: packed networks, without ONNX Runtime or PyTorch."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...pose.crop import Image
from ..bundle import Bundle
from ..inputs import LARGEST_BATCH, check_crops, opened
from .library import LibrarySession, StepTime
from .library_path import MISSING, find_library

LARGEST_ROW = 1 << 20
"""Bytes from row to row that the library takes."""


class NativeSession:
    """A packed network of a bundle, on the CPU. The library checks the hash and runs the bytes that it hashed.

    One thread at a time may run it; it computes with `threads` threads of its own (None: one per core). Other Python
    threads run meanwhile. A session does not survive a fork: open it in the process that runs it.
    """

    backend = "native"
    device = "cpu"

    def __init__(self, bundle: Bundle, artefact: str, threads: int | None = None) -> None:
        library = find_library()
        if library is None:
            raise RuntimeError(f"{bundle.path(artefact)}: {MISSING}")
        self.spec = bundle.spec
        self._session: LibrarySession | None = LibrarySession(
            Path(library), bundle.root, precision=artefact, threads=threads or 0
        )

    def run(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        """Heatmaps (N, K, H/4, W/4) of normalized RGB crops (N, 3, H, W)."""
        session = opened(self._session)
        check_crops(crops, self.spec.input_size)
        return session.run_network(np.ascontiguousarray(crops))

    def keypoints(self, items: Sequence[tuple[Image, NDArray[np.float64]]]) -> NDArray[np.float32]:
        """Keypoints (N, K, 3), x and y in image px and the score, of the people in (image, boxes) items, together.

        Images are (H, W, 3) BGR, boxes (n, 4) xyxy in image px. Crop and decode are the library's too, so that C gives
        the same numbers, and Python's lock is free meanwhile.
        """
        session = opened(self._session)
        images = [in_rows(image) for image, _ in items]
        boxes = [found.astype(np.float32) for _, found in items]
        if len(items) == 1:
            return session(images[0], boxes[0])
        crops = np.concatenate([session.crop(image, found) for image, found in zip(images, boxes, strict=True)])
        return session.decode(session.run_network(crops), np.concatenate(boxes))

    def profile(self, rounds: int) -> tuple[list[StepTime], float]:
        """Steps of a run for one person on one thread, and the multiply-adds a second that the processor reaches."""
        return opened(self._session).profile(rounds)

    def close(self) -> None:
        """Free the network's memory; more than once is fine."""
        if self._session is not None:
            self._session.close()
        self._session = None


class NativePipeline:
    """Crop, network and decode of a session in the C++ library; the estimator's way on a CPU, but for flipped crops."""

    largest_batch = LARGEST_BATCH

    def __init__(self, session: NativeSession) -> None:
        self.session = session

    def run(self, batches: Iterable[Sequence[tuple[Image, NDArray[np.float64]]]]) -> Iterator[NDArray[np.float32]]:
        """Yield for each batch of (image, boxes) the keypoints (n, K, 3): x, y in image px and the score."""
        return map(self.session.keypoints, batches)

    def close(self) -> None:
        """Close the session; more than once is fine."""
        self.session.close()


def in_rows(image: Image) -> Image:
    """The image as the library reads it, rows of interleaved BGR from the top down; copied only where it is not."""
    row, pixel, channel = image.strides
    fits = (pixel, channel) == (3, 1) and 3 * image.shape[1] <= row <= LARGEST_ROW
    return image if fits else np.ascontiguousarray(image)

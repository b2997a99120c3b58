"""Our own CPU engine, in the C++ library of `runtime/embed`: packed networks, without ONNX Runtime or PyTorch."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..inputs import check_crops, opened
from .library import LibrarySession, StepTime
from .library_path import MISSING, find_library


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

    def profile(self, rounds: int) -> tuple[list[StepTime], float]:
        """Steps of a run for one person on one thread, and the multiply-adds a second that the processor reaches."""
        return opened(self._session).profile(rounds)

    def close(self) -> None:
        """Free the network's memory; more than once is fine."""
        if self._session is not None:
            self._session.close()
        self._session = None

"""Sessions on CUDA graphs: upload of crops, network and download of heatmaps in one launch per batch bucket.

Not yet run on a GPU: tested against stand-ins for CUDA and the libraries above it.
"""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, ExitStack, closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...pose.spec import PoseSpec
from ..inputs import check_crops
from .driver import Graph, HostDeviceBuffer, Stream


class GraphSession(ABC):
    """A network on a GPU with an input and an output buffer and a CUDA graph per batch bucket.

    Not thread-safe: open one session per thread. A subclass defines how the network is enqueued; a pipeline captures
    that between its own kernels.
    """

    backend: str

    def __init__(self, spec: PoseSpec, gpu: int, batches: tuple[int, ...], stream: int | None = None) -> None:
        self.spec, self.gpu, self.device, self.batches = spec, gpu, f"cuda:{gpu}", batches
        height, width = spec.input_size
        self._prepared: dict[int, Any] = {}
        self._graphs: dict[int, Graph] = {}
        with ExitStack() as undo:  # if memory runs out half-way, what was allocated is freed
            self.stream = undo.enter_context(closing(Stream(stream)))
            self.crops = undo.enter_context(closing(HostDeviceBuffer((batches[-1], 3, height, width))))
            heatmaps = (batches[-1], len(spec.skeleton), *spec.grid)
            self.heatmaps = undo.enter_context(closing(HostDeviceBuffer(heatmaps)))
            self._undo = undo.pop_all()
        self.is_open = True

    @abstractmethod
    def prepare(self, bucket: int) -> Any:
        """Prepare the network for a bucket and run it once, so that nothing is initialized during capture."""

    def prepared(self, bucket: int) -> Any:
        """The cached result of `prepare` for a bucket, shared by all graphs and kept until `close`."""
        if bucket not in self._prepared:
            self._prepared[bucket] = self.prepare(bucket)
        return self._prepared[bucket]

    @abstractmethod
    def enqueue(self, prepared: Any) -> None:
        """Enqueue the network on `stream`, from the device buffer `crops` to `heatmaps`."""

    def capture(self) -> AbstractContextManager[Graph]:
        """Capture the work that the block enqueues on `stream` into a graph; it stays empty if the block raises."""
        return self.stream.capture()

    def run(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        """Heatmaps (N, K, H/4, W/4) of normalized RGB crops (N, 3, H, W); any N, in batches of the largest bucket."""
        if not self.is_open:
            raise ValueError("the session is closed")
        check_crops(crops, self.spec.input_size)
        most = self.batches[-1]
        heatmaps = np.empty((len(crops), *self.heatmaps.host.shape[1:]), np.float32)
        for start in range(0, len(crops), most):
            part = crops[start : start + most]
            self.crops.host[: len(part)] = part
            bucket = self.bucket(len(part))
            if bucket not in self._graphs:
                self._graphs[bucket] = self._captured(bucket)
            self._graphs[bucket].launch(self.stream)
            self.stream.synchronize()
            heatmaps[start : start + most] = self.heatmaps.host[: len(part)]
        return heatmaps

    def bucket(self, count: int) -> int:
        """The smallest batch bucket that holds `count` crops."""
        return next(batch for batch in self.batches if batch >= count)

    def close(self) -> None:
        """Free the GPU memory; may be called more than once."""
        if not self.is_open:
            return
        self.is_open = False
        for graph in self._graphs.values():
            graph.close()
        self._graphs.clear()
        self._prepared.clear()
        self._undo.close()

    def _captured(self, bucket: int) -> Graph:
        prepared = self.prepared(bucket)
        with self.capture() as graph:
            self.crops.upload(bucket, self.stream)
            self.enqueue(prepared)
            self.heatmaps.download(bucket, self.stream)
        return graph

"""Sessions on CUDA graphs: crops up, network, heatmaps down as one launch for each batch bucket.

Not yet run on a GPU: tested against stand-ins for CUDA and the libraries above it.
"""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, ExitStack, closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...pose.heatmap import HEATMAP_STRIDE
from ...pose.spec import PoseSpec
from ..inputs import check_crops
from .driver import Graph, HostDeviceBuffer, Stream


class GraphSession(ABC):
    """A network on a GPU, between two buffers, in buckets. One thread at a time; open more for more threads.

    A subclass says how the network is enqueued; a pipeline captures that between kernels of its own.
    """

    backend: str

    def __init__(self, spec: PoseSpec, gpu: int, batches: tuple[int, ...], stream: int | None = None) -> None:
        self.spec, self.gpu, self.device, self.batches = spec, gpu, f"cuda:{gpu}", batches
        height, width = spec.input_size
        self._prepared: dict[int, Any] = {}
        self._graphs: dict[int, Graph] = {}
        with ExitStack() as undo:  # where there is no room for all of it, nothing stays
            self.stream = undo.enter_context(closing(Stream(stream)))
            self.crops = undo.enter_context(closing(HostDeviceBuffer((batches[-1], 3, height, width))))
            heatmaps = (batches[-1], len(spec.skeleton), height // HEATMAP_STRIDE, width // HEATMAP_STRIDE)
            self.heatmaps = undo.enter_context(closing(HostDeviceBuffer(heatmaps)))
            self._undo = undo.pop_all()
        self.is_open = True

    @abstractmethod
    def prepare(self, bucket: int) -> Any:
        """The network for a bucket, which has run once: a capture must not prepare anything."""

    def prepared(self, bucket: int) -> Any:
        """What `prepare` made for a bucket, once for all graphs; it outlives those that read it."""
        if bucket not in self._prepared:
            self._prepared[bucket] = self.prepare(bucket)
        return self._prepared[bucket]

    @abstractmethod
    def enqueue(self, prepared: Any) -> None:
        """The network on `stream`, from `crops` to `heatmaps` on the device."""

    def capture(self) -> AbstractContextManager[Graph]:
        """What is enqueued on `stream` within becomes a graph; an error leaves none."""
        return self.stream.capture()

    def run(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        """Heatmaps (N, K, H/4, W/4) of normalized RGB crops (N, 3, H, W); more than the largest batch run in turns."""
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
        """The smallest batch bucket that holds so many crops."""
        return next(batch for batch in self.batches if batch >= count)

    def close(self) -> None:
        """Give the GPU's memory back; more than once is fine."""
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

"""The GPU pipeline: crop, network and decode in one CUDA graph per batch bucket.

Frames are uploaded, keypoints downloaded. Boxes, frame addresses and the number of people are read from memory, so that
a captured graph serves every frame. The next batch is uploaded while one is computed. Not yet run on a GPU: tested on
stand-ins for CUDA and for the networks, which run the kernels' own arithmetic on the CPU.
"""

import ctypes
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...pose.spec import PoseSpec
from ..inputs import is_on_gpu
from .arrays import DeviceArray, DeviceFrame
from .driver import Event, Graph, HostDeviceBuffer, Stream
from .graph_session import GraphSession
from .launch import AFFINE_BYTES, BGR, CropRecord, FrameRecord, Kernels

Item = tuple[Any, NDArray[np.float64]]
"""A BGR image (H, W, 3) of uint8, in NumPy or on the GPU, and its checked boxes (N, 4) xyxy in image px."""
LANES = 2
"""Number of batches in flight."""


class Lane:
    """The buffers of one batch in flight. The host fills one lane while the GPU works on another."""

    def __init__(self, most: int, joints: int) -> None:
        with ExitStack() as undo:

            def buffer(*shape: int, dtype: Any = np.float32) -> HostDeviceBuffer:
                return undo.enter_context(closing(HostDeviceBuffer(shape, dtype)))

            self.boxes, self.keypoints = buffer(most, 4), buffer(most, joints, 3)
            self.people, self.frame_of = buffer(1, dtype=np.int32), buffer(most, dtype=np.int32)
            self.frames = buffer(most, ctypes.sizeof(FrameRecord), dtype=np.uint8)
            self.affines = buffer(most, AFFINE_BYTES, dtype=np.uint8)
            self.uploaded, self.done = (undo.enter_context(closing(Event())) for _ in range(2))
            self._undo = undo.pop_all()
        self.pixels: list[HostDeviceBuffer] = []  # by index of the frame in its batch; grown on demand
        self.owners: list[Any] = []

    def room_for(self, index: int, size: int) -> HostDeviceBuffer:
        """The pixel buffer of a frame, grown to at least `size` bytes."""
        if index == len(self.pixels):
            self.pixels.append(HostDeviceBuffer((size,), np.uint8))
        elif self.pixels[index].bytes < size:
            self.pixels.pop(index).close()
            self.pixels.insert(index, HostDeviceBuffer((size,), np.uint8))
        return self.pixels[index]

    def close(self) -> None:
        self._undo.close()
        for part in self.pixels:
            part.close()
        self.pixels.clear()


class CudaPipeline:
    """Crop, network and decode on the GPU. Not thread-safe, like its session."""

    def __init__(self, session: GraphSession, spec: PoseSpec, kernels: Kernels) -> None:
        self.session, self.spec, self.kernels = session, spec, kernels
        self.largest_batch = session.batches[-1]
        self._record = CropRecord.of(spec)
        self._lanes = [Lane(self.largest_batch, len(spec.skeleton)) for _ in range(LANES)]
        self._uploads = Stream()
        self._turn = 0
        self._graphs: dict[tuple[int, int], Graph] = {}

    def run(self, batches: Iterable[Sequence[Item]]) -> Iterator[NDArray[np.float32]]:
        """Yield keypoints (n, K, 3) in image px per batch; a batch has at most as many people as the largest bucket.

        ValueError names the person whose heatmap holds NaN or infinity.
        """
        flying: deque[tuple[Lane, int]] = deque()
        try:
            for items in batches:
                if len(flying) == LANES:
                    yield self._collect(*flying.popleft())
                flying.append(self._start(items))
            while flying:
                yield self._collect(*flying.popleft())
        finally:
            if flying:  # the caller stopped early: wait for running batches and release their frames
                self.session.stream.synchronize()

    def on_device(self, items: Sequence[Item]) -> DeviceArray:
        """Keypoints (n, K, 3) of a batch in GPU memory; the host does not wait for them.

        They are valid until the next batch but one starts. Joints with a non-finite heatmap are NaN.
        """
        lane, people = self._start(items)
        shape = (people, *lane.keypoints.host.shape[1:])
        return DeviceArray(lane.keypoints.address, shape, self.session.gpu, self.session.stream)

    def close(self) -> None:
        """Free the memory of the pipeline and its session; may be called more than once."""
        for graph in self._graphs.values():
            graph.close()
        self._graphs.clear()
        for part in (*self._lanes, self._uploads, self.kernels, self.session):
            part.close()

    def _start(self, items: Sequence[Item]) -> tuple[Lane, int]:
        """Enqueue a batch; return its lane and its number of people."""
        if not self.session.is_open:
            raise ValueError("the session is closed")
        index, lane = self._turn % LANES, self._lanes[self._turn % LANES]
        items = [(image, boxes) for image, boxes in items if len(boxes)]
        people = sum(len(boxes) for _, boxes in items)
        if people == 0:
            return lane, 0
        self._turn += 1
        lane.done.synchronize()
        self._fill(lane, items)
        lane.people.host[0] = people
        bucket = self.session.bucket(people)
        if (bucket, index) not in self._graphs:
            self._graphs[bucket, index] = self._capture(bucket, lane)
        stream = self.session.stream
        lane.uploaded.record(self._uploads)
        stream.wait_for(lane.uploaded)
        self._graphs[bucket, index].launch(stream)
        lane.done.record(stream)
        return lane, people

    def _collect(self, lane: Lane, people: int) -> NDArray[np.float32]:
        if people == 0:
            return np.empty((0, *lane.keypoints.host.shape[1:]), np.float32)
        lane.done.synchronize()
        lane.owners.clear()
        found = lane.keypoints.host[:people].copy()
        broken = ~np.isfinite(found[..., 2])
        if broken.any():
            person, joint = np.argwhere(broken)[0]
            raise ValueError(f"the heatmap of person {person}, joint {joint} holds NaN or infinity")
        return found

    def _fill(self, lane: Lane, items: Sequence[Item]) -> None:
        """Upload pixels; write boxes and the frame table to pinned memory, from which the graph copies them."""
        lane.owners.clear()
        start = 0
        for index, (image, boxes) in enumerate(items):
            frame = self._on_device(lane, index, image)
            record = FrameRecord(frame.address, 0, frame.stride, 0, frame.width, frame.height, BGR)
            lane.frames.host[index] = np.frombuffer(bytes(record), np.uint8)
            lane.boxes.host[start : start + len(boxes)] = boxes
            lane.frame_of.host[start : start + len(boxes)] = index
            lane.owners.append(frame.owner)
            start += len(boxes)

    def _on_device(self, lane: Lane, index: int, image: Any) -> DeviceFrame:
        """A GPU image's own memory, with a wait for its writer, or an uploaded copy of a host image."""
        if is_on_gpu(image):
            frame = DeviceFrame.of(image, self.session.gpu, self._uploads)
            if frame.producer is not None:
                lane.uploaded.record(Stream(frame.producer))
                self._uploads.wait_for(lane.uploaded)
            return frame
        pixels = lane.room_for(index, image.size)
        pixels.host[: image.size].reshape(image.shape)[:] = image
        pixels.upload(image.size, self._uploads)
        height, width = image.shape[:2]
        return DeviceFrame(pixels.address, height, width, 3 * width)

    def _capture(self, bucket: int, lane: Lane) -> Graph:
        """Capture the graph of a bucket on a lane, after one run of it: no kernel may be loaded during capture."""
        prepared = self.session.prepared(bucket)
        self._uploads.synchronize()
        self._enqueue(bucket, lane, prepared)
        self.session.stream.synchronize()
        with self.session.capture() as graph:
            self._enqueue(bucket, lane, prepared)
        return graph

    def _enqueue(self, bucket: int, lane: Lane, prepared: Any) -> None:
        session, stream = self.session, self.session.stream
        inputs = (lane.frames.address, lane.frame_of.address, lane.boxes.address, lane.people.address)
        affines = lane.affines.address
        for part, rows in ((lane.boxes, bucket), (lane.frame_of, bucket), (lane.frames, bucket), (lane.people, 1)):
            part.upload(rows, stream)
        crops = session.crops.address
        self.kernels.crop(stream, bucket, self._record, inputs=inputs, crops=crops, affines=affines)
        session.enqueue(prepared)
        self.kernels.decode(
            stream,
            bucket,
            self.spec,
            heatmaps=session.heatmaps.address,
            affines=affines,
            people=lane.people.address,
            keypoints=lane.keypoints.address,
        )
        lane.keypoints.download(bucket, stream)

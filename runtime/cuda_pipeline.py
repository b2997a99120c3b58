"""Pixels to keypoints on the GPU: crop, network and decode are one CUDA graph for each batch bucket.

Frames go up, keypoints come down; boxes, the frames' addresses and the number of people are read from device memory, so
that a graph that was captured once serves every frame. Not yet run on a GPU: tested on stand-ins for CUDA and TensorRT,
which run the kernels' own arithmetic on the CPU.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pose.crop import Image
from ..pose.spec import PoseSpec
from .cuda import Graph, Mirrored
from .cuda_kernels import AFFINE_BYTES, BGR, CropRecord, FrameRecord, Kernels
from .tensorrt_session import TensorRtSession

Item = tuple[Image, NDArray[np.float64]]
"""A BGR image (H, W, 3) and its boxes (N, 4) xyxy in px, checked."""


class CudaPipeline:
    """An engine with crop and decode beside it on the device. One thread at a time, as its session."""

    def __init__(self, session: TensorRtSession, spec: PoseSpec, kernels: Kernels | None = None) -> None:
        self.session, self.spec, self.kernels = session, spec, kernels or Kernels()
        most = self.largest_batch = session.batches[-1]
        self._record = CropRecord.of(spec)
        self._boxes = Mirrored((most, 4))
        self._frame_of = Mirrored((most,), np.int32)
        self._frames = Mirrored((most, ctypes.sizeof(FrameRecord)), np.uint8)
        self._people = Mirrored((1,), np.int32)
        self._affines = Mirrored((most, AFFINE_BYTES), np.uint8)
        self._keypoints = Mirrored((most, len(spec.joints), 3))
        self._pixels: list[Mirrored] = []  # by place of a frame in its batch; they grow
        self._graphs: dict[int, tuple[Any, Graph]] = {}

    def keypoints(self, items: Sequence[Item]) -> NDArray[np.float32]:
        """Keypoints (n, K, 3) of the people of one batch of images, no more than the engine's largest bucket.

        ValueError names the person whose heatmap holds NaN or infinity.
        """
        items = [(image, boxes) for image, boxes in items if len(boxes)]
        people = sum(len(boxes) for _, boxes in items)
        if people == 0:
            return np.empty((0, *self._keypoints.host.shape[1:]), np.float32)
        stream = self.session.stream
        self._upload(items)
        self._people.host[0] = people
        bucket = self.session.bucket(people)
        if bucket not in self._graphs:
            self._graphs[bucket] = self._capture(bucket)
        self._graphs[bucket][1].launch(stream)
        stream.synchronize()
        found = self._keypoints.host[:people].copy()
        broken = ~np.isfinite(found[..., 2])
        if broken.any():
            person, joint = np.argwhere(broken)[0]
            raise ValueError(f"the heatmap of person {person}, joint {joint} holds NaN or infinity")
        return found

    def close(self) -> None:
        """Give the memory back, the session's too; more than once is fine."""
        for _, graph in self._graphs.values():
            graph.close()
        self._graphs.clear()
        parts = (self._boxes, self._frame_of, self._frames, self._people, self._affines, self._keypoints)
        for part in (*parts, *self._pixels, self.kernels, self.session):
            part.close()
        self._pixels.clear()

    def _upload(self, items: Sequence[Item]) -> None:
        """Pixels to the device; boxes and the table of frames to pinned memory, from where the graph takes them."""
        start = 0
        for place, (image, boxes) in enumerate(items):
            pixels = self._room_for(place, image.size)
            pixels.host[: image.size].reshape(image.shape)[:] = image
            pixels.upload(image.size, self.session.stream)
            height, width = image.shape[:2]
            record = FrameRecord(pixels.address, 0, 3 * width, 0, width, height, BGR)
            self._frames.host[place] = np.frombuffer(bytes(record), np.uint8)
            self._boxes.host[start : start + len(boxes)] = boxes
            self._frame_of.host[start : start + len(boxes)] = place
            start += len(boxes)

    def _room_for(self, place: int, size: int) -> Mirrored:
        if place == len(self._pixels):
            self._pixels.append(Mirrored((size,), np.uint8))
        elif self._pixels[place].bytes < size:
            self._pixels[place].close()
            self._pixels[place] = Mirrored((size,), np.uint8)
        return self._pixels[place]

    def _capture(self, bucket: int) -> tuple[Any, Graph]:
        session, people = self.session, self._people.address
        context = session.context(bucket)
        with session.stream.capture() as graph:
            for part, rows in ((self._boxes, bucket), (self._frame_of, bucket), (self._frames, bucket)):
                part.upload(rows, session.stream)
            self._people.upload(1, session.stream)
            self.kernels.crop(
                session.stream,
                bucket,
                self._record,
                inputs=(self._frames.address, self._frame_of.address, self._boxes.address, people),
                crops=session.crops.address,
                affines=self._affines.address,
            )
            session.enqueue(context)
            self.kernels.decode(
                session.stream,
                bucket,
                self.spec,
                heatmaps=session.heatmaps.address,
                affines=self._affines.address,
                people=people,
                keypoints=self._keypoints.address,
            )
            self._keypoints.download(bucket, session.stream)
        return context, graph

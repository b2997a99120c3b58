"""Pixels to keypoints on the GPU: crop, network and decode are one CUDA graph for each batch bucket.

Frames go up, keypoints come down; boxes, the frames' addresses and the number of people are read from device memory, so
that a graph that was captured once serves every frame. Not yet run on a GPU: tested on stand-ins for CUDA and TensorRT,
which run the kernels' own arithmetic on the CPU.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pose.spec import PoseSpec
from .cuda import Graph, Mirrored, Stream, device_of
from .cuda_kernels import AFFINE_BYTES, BGR, CropRecord, FrameRecord, Kernels
from .tensorrt_session import TensorRtSession

Item = tuple[Any, NDArray[np.float64]]
"""A BGR image (H, W, 3) of uint8, NumPy's or with `__cuda_array_interface__`, and its boxes (N, 4), checked."""


@dataclass(frozen=True)
class DeviceFrame:
    """A BGR frame that lies on the GPU already: PyTorch's, CuPy's or PyCUDA's."""

    address: int
    height: int
    width: int
    stride: int
    """Bytes from row to row."""
    producer: int
    """The stream that writes it; 0 is CUDA's default."""

    @classmethod
    def of(cls, array: Any, device: int) -> "DeviceFrame":
        """Read an array's `__cuda_array_interface__`; ValueError for another shape, type, layout or GPU."""
        interface = array.__cuda_array_interface__
        shape, kind = tuple(interface["shape"]), interface["typestr"]
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or kind != "|u1":
            raise ValueError(f"frame has shape {shape} and type {kind}, expected (height, width, 3) of uint8 in BGR")
        strides = interface.get("strides") or (3 * shape[1], 3, 1)
        if tuple(strides[1:]) != (3, 1) or strides[0] < 3 * shape[1]:
            raise ValueError(f"frame has strides {tuple(strides)}, expected rows of interleaved BGR")
        address = int(interface["data"][0])
        where = device_of(address)
        if where != device:
            place = "the host's memory" if where is None else f"cuda:{where}"
            raise ValueError(f"frame lies in {place}, expected cuda:{device}, where the engine is")
        return cls(address, shape[0], shape[1], int(strides[0]), int(interface.get("stream") or 0))


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
            frame = self._on_device(place, image)
            record = FrameRecord(frame.address, 0, frame.stride, 0, frame.width, frame.height, BGR)
            self._frames.host[place] = np.frombuffer(bytes(record), np.uint8)
            self._boxes.host[start : start + len(boxes)] = boxes
            self._frame_of.host[start : start + len(boxes)] = place
            start += len(boxes)

    def _on_device(self, place: int, image: Any) -> DeviceFrame:
        """An image's own memory once its writer is done, or its copy on the device."""
        if hasattr(image, "__cuda_array_interface__"):
            frame = DeviceFrame.of(image, int(self.session.device.partition(":")[2]))
            Stream(frame.producer).synchronize()
            return frame
        pixels = self._room_for(place, image.size)
        pixels.host[: image.size].reshape(image.shape)[:] = image
        pixels.upload(image.size, self.session.stream)
        height, width = image.shape[:2]
        return DeviceFrame(pixels.address, height, width, 3 * width, 0)

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

"""Python bindings (ctypes) of the C++ library of `runtime/embed`.

`backends.native` runs from pixels to keypoints by it (docs/decisions/0007).
"""

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...pose.crop import Image

ABI_VERSION = 1
MOST_STEPS = 4096
BGR = 0


class _Options(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("precision", ctypes.c_char_p),
        ("device", ctypes.c_char_p),
        ("runtime_library", ctypes.c_char_p),
        ("threads", ctypes.c_int32),
        ("max_batch", ctypes.c_int32),
        ("flip", ctypes.c_int32),
    )


class _Info(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        *((name, ctypes.c_char_p) for name in ("variant", "precision", "backend", "device", "skeleton")),
        *((name, ctypes.c_char_p) for name in ("decode", "note")),
        ("trained", ctypes.c_int32),
        ("joints", ctypes.c_int32),
        ("joint_names", ctypes.POINTER(ctypes.c_char_p)),
        ("limb_count", ctypes.c_int32),
        ("limbs", ctypes.POINTER(ctypes.c_int32)),
        *((name, ctypes.c_int32) for name in ("input_height", "input_width", "heatmap_height", "heatmap_width")),
        ("max_batch", ctypes.c_int32),
        ("min_score", ctypes.c_float),
    )


class _Image(ctypes.Structure):
    _fields_ = (
        ("format", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("data", ctypes.c_void_p),
        ("stride", ctypes.c_size_t),
        ("chroma", ctypes.c_void_p),
        ("chroma_stride", ctypes.c_size_t),
    )


class _Step(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("multiply_adds", ctypes.c_double), ("milliseconds", ctypes.c_double))


@dataclass(frozen=True)
class StepTime:
    """A step of our engine's run for one person on one thread."""

    name: str
    multiply_adds: float
    milliseconds: float


class LibrarySession:
    """One open session of liblehrnet; ValueError with the library's words for everything that it refuses.

    `runtime` is ONNX Runtime's library, which packed networks do not need.
    """

    def __init__(
        self,
        library: Path,
        bundle: Path,
        runtime: Path | None = None,
        *,
        precision: str = "fp32",
        threads: int = 0,
        max_batch: int = 32,
    ) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.lehrnet_last_error.restype = ctypes.c_char_p
        self._library.lehrnet_close.argtypes = [ctypes.c_void_p]
        options = _Options()
        self._check(self._library.lehrnet_options_init(ctypes.byref(options), ctypes.sizeof(options)))
        options.precision = precision.encode()
        options.runtime_library = None if runtime is None else str(runtime).encode()
        options.threads, options.max_batch = threads, max_batch
        self._session = ctypes.c_void_p()
        self._check(
            self._library.lehrnet_open(
                str(bundle).encode(), ctypes.byref(options), ABI_VERSION, ctypes.byref(self._session)
            )
        )
        info = _Info(struct_size=ctypes.sizeof(_Info))
        self._check(self._library.lehrnet_describe(self._session, ctypes.byref(info)))
        self.joints, self.input_size = info.joints, (info.input_height, info.input_width)
        self.grid = (info.heatmap_height, info.heatmap_width)

    def close(self) -> None:
        """Close the session; more than once is fine."""
        self._library.lehrnet_close(self._session)
        self._session = ctypes.c_void_p()

    def __call__(self, image: Image, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Keypoints (N, K, 3) in image px of the people in boxes (N, 4)."""
        keypoints = np.empty((len(boxes), self.joints, 3), np.float32)
        self._call("run", _picture(image), boxes, len(boxes), keypoints, len(boxes) * self.joints)
        return keypoints

    def crop(self, image: Image, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalized crops (N, 3, H, W)."""
        crops = np.empty((len(boxes), 3, *self.input_size), np.float32)
        self._call("crop", _picture(image), boxes, len(boxes), crops, crops.size)
        return crops

    def run_network(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        """Heatmaps (N, K, h, w)."""
        heatmaps = np.empty((len(crops), self.joints, *self.grid), np.float32)
        self._call("run_network", crops, len(crops), heatmaps, heatmaps.size)
        return heatmaps

    def decode(self, heatmaps: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Keypoints (N, K, 3) in image px."""
        keypoints = np.empty((len(boxes), self.joints, 3), np.float32)
        self._call("decode", heatmaps, boxes, len(boxes), keypoints, len(boxes) * self.joints)
        return keypoints

    def profile(self, rounds: int) -> tuple[list[StepTime], float]:
        """The steps of a run by the least of their times, and the multiply-adds a second that the processor reaches.

        ValueError for sessions that do not run by our own engine.
        """
        steps, count, peak = (_Step * MOST_STEPS)(), ctypes.c_size_t(), ctypes.c_double()
        pointers = ctypes.byref(steps), ctypes.c_size_t(MOST_STEPS), ctypes.byref(count), ctypes.byref(peak)
        self._check(self._library.lehrnet_profile(self._session, ctypes.c_int32(rounds), *pointers))
        found = [StepTime(step.name.decode(), step.multiply_adds, step.milliseconds) for step in steps[: count.value]]
        return found, peak.value

    def _call(self, name: str, *arguments: Any) -> None:
        self._check(getattr(self._library, f"lehrnet_{name}")(self._session, *map(_argument, arguments)))

    def _check(self, status: int) -> None:
        if status:
            raise ValueError(self._library.lehrnet_last_error().decode())


def _picture(image: Image) -> _Image:
    if image.strides[1:] != (3, 1):
        raise ValueError("the image's pixels are not contiguous: expected rows of interleaved BGR")
    return _Image(BGR, image.shape[1], image.shape[0], image.ctypes.data, image.strides[0], None, 0)


def _argument(value: Any) -> Any:
    if isinstance(value, _Image):
        return ctypes.byref(value)
    if isinstance(value, int):
        return ctypes.c_size_t(value)
    if value.dtype != np.float32 or not value.flags.c_contiguous:
        raise ValueError(f"an array of {value.dtype}: expected contiguous float32")
    return ctypes.c_void_p(value.ctypes.data)

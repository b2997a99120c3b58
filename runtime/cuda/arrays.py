"""Exchange of GPU arrays with other libraries, by `__cuda_array_interface__` and by DLPack.

PyCUDA and Numba support the first, JAX and video decoders the second, PyTorch and CuPy both.
"""

import ctypes
from dataclasses import dataclass
from typing import Any

from ..inputs import DLPACK_CUDA
from .driver import Stream, device_of

UNSIGNED, FLOAT = 1, 2
"""Type codes of DLPack."""
CAPSULE = b"dltensor"


@dataclass(frozen=True)
class DeviceFrame:
    """A BGR frame in GPU memory."""

    address: int
    height: int
    width: int
    stride: int
    """Row stride in bytes."""
    producer: int | None = None
    """Handle of the stream that writes the frame; None if there is nothing to wait for."""
    owner: Any = None
    """The object that owns the memory."""

    @classmethod
    def of(cls, array: Any, gpu: int, stream: Stream) -> "DeviceFrame":
        """Wrap another library's array; ValueError for an unsupported shape, type, layout or GPU.

        `stream` is the stream that will read the frame: DLPack producers synchronize their work with it.
        """
        if hasattr(array, "__cuda_array_interface__"):
            interface = array.__cuda_array_interface__
            shape, strides, kind = tuple(interface["shape"]), interface.get("strides"), interface["typestr"]
            address, producer, owner = int(interface["data"][0]), interface.get("stream"), array
        else:
            owner = array.__dlpack__(stream=stream.handle)
            tensor = _read_capsule(owner)
            address, shape, strides, kind = tensor.place()
            producer = None
        if len(shape) != 3 or shape[2] != 3 or 0 in shape or kind != "|u1":
            raise ValueError(f"frame has shape {shape} and type {kind}, expected (height, width, 3) of uint8 in BGR")
        strides = tuple(strides or (3 * shape[1], 3, 1))
        if strides[1:] != (3, 1) or strides[0] < 3 * shape[1]:
            raise ValueError(f"frame has strides {strides}, expected rows of interleaved BGR")
        where = device_of(address)
        if where != gpu:
            place = "the host's memory" if where is None else f"cuda:{where}"
            raise ValueError(f"frame is in {place}, expected cuda:{gpu}, where the network is")
        return cls(address, shape[0], shape[1], strides[0], producer, owner)


class DeviceArray:
    """A float32 array on the GPU, for `torch.as_tensor`, `torch.from_dlpack` and the like.

    Consumers synchronize with the stream that fills it. The pipeline owns the memory and defines its lifetime.
    """

    def __init__(self, address: int, shape: tuple[int, ...], gpu: int, stream: Stream) -> None:
        self.address, self.shape, self.gpu, self.stream = address, shape, gpu, stream

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        data = (self.address, False)
        return {"shape": self.shape, "typestr": "<f4", "data": data, "stream": self.stream.handle, "version": 3}

    def __dlpack_device__(self) -> tuple[int, int]:
        return DLPACK_CUDA, self.gpu

    def __dlpack__(self, *, stream: int | None = None, **_: Any) -> Any:
        """An unversioned DLPack capsule; the host waits for the array if `stream` is given."""
        if stream != -1:
            self.stream.synchronize()
        managed = _ManagedTensor.of(self.address, self.shape, *self.__dlpack_device__())
        address = ctypes.addressof(managed)
        _exported[address] = managed
        return _python.PyCapsule_New(address, CAPSULE, None)


class _Tensor(ctypes.Structure):
    """DLTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_kind", ctypes.c_int32),
        ("device", ctypes.c_int32),
        ("axes", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
    )

    def place(self) -> tuple[int, tuple[int, ...], tuple[int, ...] | None, str]:
        """Address, shape, strides in bytes, and NumPy type string."""
        size = self.bits // 8
        letter = {UNSIGNED: "u", FLOAT: "f"}.get(self.code, "?")
        strides = tuple(size * step for step in self.strides[: self.axes]) if self.strides else None
        kind = f"{'|' if size == 1 else '<'}{letter}{size}"
        return (self.data or 0) + self.offset, tuple(self.shape[: self.axes]), strides, kind


class _ManagedTensor(ctypes.Structure):
    """DLManagedTensor."""

    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))

    @classmethod
    def of(cls, address: int, shape: tuple[int, ...], device_kind: int, device: int) -> "_ManagedTensor":
        sizes = (ctypes.c_int64 * len(shape))(*shape)
        tensor = _Tensor(address, device_kind, device, len(shape), FLOAT, 32, 1, sizes, None, 0)
        return cls(tensor, None, ctypes.cast(_let_go, ctypes.c_void_p))


_exported: dict[int, _ManagedTensor] = {}
"""Tensor structures that consumers still hold, by address; the pipeline owns the data that they describe."""


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _let_go(address: int) -> None:
    _exported.pop(address, None)


_python = ctypes.pythonapi
_python.PyCapsule_New.restype = ctypes.py_object
_python.PyCapsule_New.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_python.PyCapsule_GetPointer.restype = ctypes.c_void_p
_python.PyCapsule_GetPointer.argtypes = (ctypes.py_object, ctypes.c_char_p)


def _read_capsule(capsule: Any) -> _Tensor:
    """The tensor of a capsule, valid while the capsule lives; it is not renamed, so it frees its own memory."""
    pointer = _python.PyCapsule_GetPointer(capsule, CAPSULE)
    return _ManagedTensor.from_address(pointer).tensor

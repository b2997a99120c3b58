"""Arrays for other libraries, with the host's memory in the GPU's place."""

import gc

import numpy as np
import pytest

pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")

from lehrnet.runtime.cuda import arrays as device_arrays
from lehrnet.runtime.cuda.arrays import DeviceArray
from lehrnet.runtime.cuda.driver import Stream
from lehrnet.runtime.inputs import is_on_gpu


@pytest.fixture
def memory() -> np.ndarray:
    return np.arange(24, dtype=np.float32).reshape(2, 4, 3)


def test_dlpack_s_consumers_read_it_in_place(memory, fake_cuda, monkeypatch) -> None:
    array = DeviceArray(memory.ctypes.data, memory.shape, 0, Stream())
    assert is_on_gpu(array)
    monkeypatch.setattr(device_arrays, "DLPACK_CUDA", 1)  # the host's
    taken = np.from_dlpack(array)
    del array
    gc.collect()
    np.testing.assert_array_equal(taken, memory)
    memory[0, 0, 0] = 7
    assert taken[0, 0, 0] == 7
    assert len(device_arrays._exported) == 1
    del taken
    gc.collect()
    assert device_arrays._exported == {}


def test_torch_reads_it_too(memory, fake_cuda, monkeypatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(device_arrays, "DLPACK_CUDA", 1)
    taken = torch.from_dlpack(DeviceArray(memory.ctypes.data, memory.shape, 0, Stream()))
    np.testing.assert_array_equal(taken.numpy(), memory)


def test_its_interface_names_the_stream(memory, fake_cuda) -> None:
    stream = Stream()
    interface = DeviceArray(memory.ctypes.data, memory.shape, 0, stream).__cuda_array_interface__
    assert interface == {
        "shape": (2, 4, 3),
        "typestr": "<f4",
        "data": (memory.ctypes.data, False),
        "stream": stream.handle,
        "version": 3,
    }


def test_arrays_of_the_host_are_not_a_gpu_s(memory) -> None:
    assert not is_on_gpu(memory)
    assert not is_on_gpu([[1, 2]])

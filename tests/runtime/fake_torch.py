"""A stand-in for PyTorch's CUDA, over the stand-in for CUDA: a graph is the operators that were recorded, run again."""

import contextlib
import ctypes
from types import SimpleNamespace

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Recorder(TorchDispatchMode):
    """What PyTorch computes within is computed again, on the same memory, whenever the graph is launched."""

    def __init__(self, fake_cuda) -> None:
        super().__init__()
        self.fake_cuda = fake_cuda

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))

        @torch.inference_mode()
        def again() -> None:
            for old, new in zip(tensors(made), tensors(func(*args, **(kwargs or {}))), strict=True):
                old.copy_(new)

        self.fake_cuda.recording.append(again)
        return made


def tensors(made) -> list[torch.Tensor]:
    return list(made) if isinstance(made, tuple | list) else [made]


class FakeTorchCuda:
    """What the session takes of torch.cuda, over the stand-in for CUDA."""

    def __init__(self, fake_cuda) -> None:
        self.fake_cuda, self.current, self.used = fake_cuda, [0], list[int]()
        outer = self

        class CUDAGraph:
            work: list

            def replay(self) -> None:
                outer.used.append(outer.current[-1])
                fake_cuda.cudaGraphLaunch(self.work, outer.current[-1])

            def reset(self) -> None:
                fake_cuda.graphs -= 1

        self.CUDAGraph = CUDAGraph

    def ExternalStream(self, handle: int, device: torch.device):  # noqa: N802 - PyTorch's name
        return SimpleNamespace(cuda_stream=handle, device=device)

    def synchronize(self, device: torch.device) -> None:
        assert device.type == "cuda"

    def graph_pool_handle(self) -> str:
        return "pool"

    @contextlib.contextmanager
    def stream(self, stream):
        self.current.append(stream.cuda_stream)
        yield
        self.current.pop()

    @contextlib.contextmanager
    def graph(self, made, pool, stream, capture_error_mode):
        assert (pool, capture_error_mode) == ("pool", "thread_local")
        with self.stream(stream):
            self.fake_cuda.cudaStreamBeginCapture(stream.cuda_stream, 1)
            with Recorder(self.fake_cuda):
                yield
            code, made.work = self.fake_cuda.cudaStreamEndCapture(stream.cuda_stream)
        if code != 0:
            raise RuntimeError("the capture failed")
        self.fake_cuda.graphs += 1


class FakeTorch:
    """PyTorch with a GPU: everything but these two is the real one's, on the CPU."""

    def __init__(self, fake_cuda) -> None:
        self.cuda = FakeTorchCuda(fake_cuda)

    def __getattr__(self, name: str):
        return getattr(torch, name)

    def as_tensor(self, memory, device: torch.device) -> torch.Tensor:
        facts = memory.__cuda_array_interface__
        kind, (address, read_only) = np.dtype(facts["typestr"]), facts["data"]
        assert (device.type, read_only, facts["version"]) == ("cuda", False, 3)
        held = (ctypes.c_char * (int(np.prod(facts["shape"])) * kind.itemsize)).from_address(address)
        return torch.from_numpy(np.frombuffer(memoryview(held), kind).reshape(facts["shape"]))

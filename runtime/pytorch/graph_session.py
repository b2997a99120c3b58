"""PyTorch on CUDA graphs, in FP16 and fused forms: a fast backend for GPUs without TensorRT.

Not yet run on a GPU: its forms are tested on the CPU, the session against stand-ins.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..cuda.driver import Graph, HostDeviceBuffer, Stream, use_device
from ..cuda.graph_session import GraphSession
from ..inputs import BUCKETS

try:
    import torch
    from torch import Tensor

    from ...model.checkpoint import load_checkpoint
    from ...model.device import choose_device
    from .forms import TorchForm, gpu_network
except ImportError as error:
    raise ImportError("PyTorch is not installed: pip install 'lehrnet[train]'") from error

WARM_UPS = 3


@dataclass(frozen=True)
class Views:
    """The session's buffers as tensors, cut to the rows of a bucket."""

    crops: Tensor
    heatmaps: Tensor


class TorchGraphSession(GraphSession):
    """A checkpoint in a fast form on CUDA graphs. The eager network is `TorchSession`."""

    backend = "torch"

    def __init__(
        self,
        path: Path,
        device: str = "auto",
        threads: int | None = None,
        *,
        form: TorchForm | None = None,
        stream: int | None = None,
        content: bytes | None = None,
    ) -> None:
        del threads
        self.form = form or TorchForm()
        torch_device = choose_device("cuda" if device == "auto" else device)
        if torch_device.type != "cuda":
            raise ValueError(f"device is {device}, but {self.form.name} runs on a GPU: device cuda, or weights")
        checkpoint = load_checkpoint(path, content=content)
        gpu = torch_device.index or 0
        use_device(gpu)
        self._network: Any = gpu_network(checkpoint.network, checkpoint.spec.input_size, self.form, torch_device)
        torch.cuda.synchronize(torch_device)  # the weights were uploaded on another stream
        super().__init__(checkpoint.spec, gpu, BUCKETS, stream)
        self._torch_stream = torch.cuda.ExternalStream(self.stream.handle, torch_device)
        self._crops: Any = view(self.crops, torch_device)
        self._heatmaps: Any = view(self.heatmaps, torch_device)
        self._pool = torch.cuda.graph_pool_handle()  # the graphs' results are copied out, so that they may share it

    def prepare(self, bucket: int) -> Views:
        """The buffers' first `bucket` rows, after a run in which cuDNN chooses its algorithms."""
        views = Views(self._crops[:bucket], self._heatmaps[:bucket])
        with torch.backends.cudnn.flags(benchmark=True):
            for _ in range(WARM_UPS):
                self.enqueue(views)
        self.stream.synchronize()
        return views

    @torch.inference_mode()
    def enqueue(self, prepared: Views) -> None:
        """Enqueue the network on `stream` and copy the heatmaps into the session's buffer."""
        with torch.cuda.stream(self._torch_stream):
            crops = prepared.crops.to(self.form.number).contiguous(memory_format=self.form.layout)
            prepared.heatmaps.copy_(self._network(crops))

    @contextlib.contextmanager
    def capture(self) -> Iterator[Graph]:
        """Capture by PyTorch, so that its allocator reserves the memory for the graph."""
        graph = TorchGraph(self._torch_stream)
        with (
            torch.backends.cudnn.flags(benchmark=True),
            torch.cuda.graph(
                graph.graph, pool=self._pool, stream=self._torch_stream, capture_error_mode="thread_local"
            ),
        ):
            yield graph

    def close(self) -> None:
        """Free the GPU memory; may be called more than once."""
        super().close()
        self._network = self._crops = self._heatmaps = None


class TorchGraph(Graph):
    """A CUDA graph captured by PyTorch."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        super().__init__()
        self.graph: Any = torch.cuda.CUDAGraph()
        self._stream = stream

    def launch(self, stream: Stream) -> None:
        assert stream.handle == self._stream.cuda_stream
        with torch.cuda.stream(self._stream):
            self.graph.replay()

    def close(self) -> None:
        if self.graph is not None:
            self.graph.reset()
        self.graph = None


def view(buffer: HostDeviceBuffer, device: torch.device) -> Tensor:
    """A tensor that shares a buffer's device memory."""
    shape = buffer.host.shape
    interface = {"shape": shape, "typestr": "<f4", "data": (buffer.address, False), "version": 3}
    return torch.as_tensor(type("Memory", (), {"__cuda_array_interface__": interface})(), device=device)

"""PyTorch on CUDA graphs, on a stand-in for PyTorch's CUDA: a graph is the operators that were recorded, run again."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")

import torch

from lehrnet.runtime import PoseEstimator
from lehrnet.runtime.bundle import WEIGHTS, open_bundle
from lehrnet.runtime.cuda.launch import Kernels
from lehrnet.runtime.cuda.pipeline import CudaPipeline
from lehrnet.runtime.pytorch import graph_session
from lehrnet.runtime.pytorch.forms import TorchForm, gpu_network
from lehrnet.runtime.pytorch.graph_session import TorchGraphSession
from lehrnet.runtime.session import open_artefact
from lehrnet.tests.runtime.fake_torch import FakeTorch, FakeTorchCuda

BOXES = np.array([[10, 5, 40, 44], [-20.5, -8, 30.75, 60], [5, 5, 62, 20]], np.float64)


@pytest.fixture
def fake_torch(fake_cuda, monkeypatch) -> FakeTorchCuda:
    """A GPU that is the CPU: the session's own code runs all of it, down to PyTorch's names for CUDA."""
    fake = FakeTorch(fake_cuda)
    monkeypatch.setattr(graph_session, "torch", fake)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    on_the_cpu = partial(gpu_network, device=torch.device("cpu"))
    monkeypatch.setattr(graph_session, "gpu_network", lambda network, size, form, _: on_the_cpu(network, size, form))
    return fake.cuda


@pytest.fixture
def session(tiny_bundle: Path, fake_torch):
    form = TorchForm(half=False)
    return TorchGraphSession(open_bundle(tiny_bundle).path(WEIGHTS), "cuda", form=form)


def crops(count: int) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, 3, 64, 64), dtype=np.float32)


@pytest.mark.parametrize("count", [1, 3, 9])
def test_it_gives_the_reference_s_heatmaps(count: int, session, tiny_bundle: Path) -> None:
    reference = open_artefact(open_bundle(tiny_bundle), WEIGHTS, "cpu")
    wanted = reference.run(crops(count))
    np.testing.assert_allclose(session.run(crops(count)), wanted, atol=2e-5 * float(np.abs(wanted).max()))
    assert session.run(crops(0)).shape == (0, 17, 16, 16)
    assert (session.backend, session.device) == ("torch", "cuda:0")


def test_graphs_are_captured_once_and_replayed_on_the_session_s_stream(session, fake_cuda, fake_torch) -> None:
    first = session.run(crops(3))
    np.testing.assert_allclose(session.run(crops(3)), first)
    session.run(crops(4))
    assert (fake_cuda.graphs, fake_cuda.launches) == (1, 3)
    assert fake_torch.used == [session.stream.handle] * 3


def test_a_failed_capture_is_an_error_and_leaves_no_graph(session, fake_cuda) -> None:
    wanted = session.run(crops(2))
    fake_cuda.fail_capture = True
    with pytest.raises(RuntimeError, match="the capture failed"):
        session.run(crops(1))
    fake_cuda.fail_capture = False
    np.testing.assert_allclose(session.run(crops(2)), wanted)


def test_pixels_to_keypoints_as_on_the_host(session, fake_cuda, kernels, tiny_bundle: Path) -> None:
    fake_cuda.kernels = kernels
    image = np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    pipeline = CudaPipeline(session, session.spec, Kernels(b"kernels"))
    (found,) = pipeline.run([[(image, BOXES)]])
    wanted = PoseEstimator.open(tiny_bundle, "fp32", "cpu")(image, BOXES)
    np.testing.assert_allclose(found[..., :2], wanted.xy, atol=0.01)
    np.testing.assert_allclose(found[..., 2], wanted.score, atol=1e-3)


def test_close_gives_everything_back_and_may_be_said_twice(session, fake_cuda) -> None:
    session.run(crops(2))
    session.close()
    session.close()
    assert (fake_cuda.blocks, fake_cuda.streams, fake_cuda.graphs) == ({}, 0, 0)
    with pytest.raises(ValueError, match="is closed"):
        session.run(crops(1))


def test_a_form_is_opened_by_its_name(tiny_bundle: Path, fake_torch) -> None:
    opened = open_artefact(open_bundle(tiny_bundle), "torch_fp32_dense2_nchw", "cuda")
    assert isinstance(opened, TorchGraphSession)
    assert opened.form == TorchForm(half=False, dense_from=2, channels_last=False)


def test_on_a_cpu_it_is_refused_or_what_was_allowed_runs(tiny_bundle: Path, fake_torch, caplog) -> None:
    bundle = open_bundle(tiny_bundle)
    with pytest.raises(ValueError, match="torch_fp16 runs on a GPU: device cuda, or weights"):
        open_artefact(bundle, "torch_fp16", "cpu")
    opened = open_artefact(bundle, "torch_fp16", "cpu", fallback="fp32")
    assert opened.backend == "onnxruntime"
    assert "torch_fp16 does not run here: device is cpu" in caplog.text
    assert "The fallback fp32 runs instead" in caplog.text
    with pytest.raises(ValueError, match="has no 'fp64'"):
        open_artefact(bundle, "torch_fp16", "cpu", fallback="fp64")


def test_without_pytorch_it_says_what_to_install(tiny_bundle: Path, monkeypatch) -> None:
    for name in ("graph_session", "forms", "operators"):
        monkeypatch.delitem(sys.modules, f"lehrnet.runtime.pytorch.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install 'lehrnet\[train\]'"):
        open_artefact(open_bundle(tiny_bundle), "torch_fp16", "cuda")

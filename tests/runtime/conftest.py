import ctypes
import importlib.util
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from lehrnet.tests.runtime.embed_builds import build


@pytest.fixture(scope="session")
def built() -> Path:
    """The folder of a library without ONNX Runtime, and of our CPU engine's door."""
    return build("native", targets=["native_door", "lehrnet"])


@pytest.fixture(scope="session")
def door(built: Path):
    """Our CPU engine by itself."""
    from lehrnet.benchmarks.native_door import Door

    return Door(built / "libnative_door.so")


@pytest.fixture(scope="module")
def one_thread():
    """PyTorch's threads wait for each other: on a busy machine that takes twenty times the work's own time."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def network_of(randomized):
    """Makes networks of a config whose heatmaps are more than their biases."""
    import torch

    from lehrnet.model import NetworkConfig, PoseNetwork

    def make(config: NetworkConfig) -> PoseNetwork:
        torch.manual_seed(0)
        network = randomized(PoseNetwork(config)).eval()
        torch.nn.init.normal_(network.head.weight, std=0.3)
        return network

    return make


@pytest.fixture(scope="session")
def kernels(tmp_path_factory) -> ctypes.CDLL:
    """The CUDA kernels' blocks, compiled for the CPU."""
    if shutil.which("g++") is None:
        pytest.skip("compiling takes g++")
    library = tmp_path_factory.mktemp("kernels") / "libkernels.so"
    source = Path(__file__).with_name("kernels_on_the_cpu.cpp")
    flags = ("-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
    subprocess.run(["g++", *flags, str(source), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


@pytest.fixture(scope="session")
def stand_ins() -> ModuleType:
    """Stand-ins for CUDA and TensorRT."""
    spec = importlib.util.spec_from_file_location("stand_ins", Path(__file__).with_name("stand_ins.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fake_cuda(stand_ins, monkeypatch):
    """CUDA, whose device is the host."""
    cuda = pytest.importorskip("lehrnet.runtime.cuda.driver", reason="cuda-python is not installed")
    fake = stand_ins.FakeCuda()
    monkeypatch.setattr(cuda, "cudart", fake)
    monkeypatch.setattr(cuda, "driver", fake)
    return fake


@pytest.fixture
def fake_trt(fake_cuda, stand_ins, monkeypatch):
    """TensorRT-RTX, whose engines average."""
    import sys

    fake = stand_ins.FakeTensorRt(fake_cuda, 17)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", fake)
    return fake


@pytest.fixture
def engine(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle with an engine of three buckets, whose content is a word."""
    import platform
    from dataclasses import replace

    from lehrnet.runtime.bundle import Artefact, open_bundle, write_manifest
    from lehrnet.runtime.compatibility import BuiltFor

    root = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, root)
    bundle, path = open_bundle(root), root / "fp32_tensorrt_rtx.engine"
    path.write_bytes(b"an engine")
    built = BuiltFor("tensorrt_rtx", "1.7.1.116", ("8.6", "8.9"), platform.system(), platform.machine())
    artefact = Artefact.of(path, batch=(1, 4), batches=(1, 2, 4), built_for=built)
    write_manifest(replace(bundle, artefacts={**bundle.artefacts, "fp32_tensorrt_rtx": artefact}))
    return path

"""The session's own logic, on stand-ins: buckets, turns, graphs, refusals. No GPU here; see stand_ins."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")

from lehrnet.runtime.bundle import Artefact, open_bundle, write_manifest
from lehrnet.runtime.cuda import driver as cuda
from lehrnet.runtime.cuda import tensorrt as tensorrt_session
from lehrnet.runtime.session import open_artefact, open_session


def crops(count: int) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, 3, 64, 64), dtype=np.float32)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 11])
def test_any_number_of_crops_runs_in_buckets_and_turns(count: int, engine: Path, fake_trt, stand_ins) -> None:
    session = open_session(engine, device="cuda", trust_engine=True)
    np.testing.assert_allclose(session.run(crops(count)), stand_ins.averaged(crops(count), 17), rtol=1e-6)
    assert (session.backend, session.device) == ("tensorrt_rtx", "cuda:0")


def test_a_bucket_is_captured_once_and_replayed_with_new_crops(engine: Path, fake_trt, fake_cuda, stand_ins) -> None:
    session = open_session(engine, trust_engine=True)
    for count in (3, 4, 3, 1):
        found = session.run(crops(count))
        np.testing.assert_allclose(found, stand_ins.averaged(crops(count), 17), rtol=1e-6)
    assert fake_trt.profiles == [2, 0]
    assert fake_cuda.graphs == 2
    assert fake_cuda.launches == 4


def test_close_gives_everything_back_and_may_be_said_twice(engine: Path, fake_trt, fake_cuda, stand_ins) -> None:
    session = tensorrt_session.TensorRtSession(engine)
    session.run(crops(2))
    session.close()
    session.close()
    assert (fake_cuda.blocks, fake_cuda.streams, fake_cuda.graphs) == ({}, 0, 0)
    with pytest.raises(ValueError, match="is closed"):
        session.run(crops(1))


def test_the_caller_s_stream_stays_the_caller_s(engine: Path, fake_trt, fake_cuda, stand_ins) -> None:
    session = tensorrt_session.TensorRtSession(engine, stream=5)
    session.close()
    assert fake_cuda.streams == 0


@pytest.mark.parametrize(("context", "chosen"), [(0, [0]), (1000, [0]), (77, [])])
def test_a_context_of_the_caller_s_own_is_used(
    context: int, chosen: list[int], engine: Path, fake_trt, fake_cuda
) -> None:
    """0: none is current. 1000: the primary one, as PyTorch's. 77: another, as PyCUDA's."""
    fake_cuda.context = context
    open_session(engine, trust_engine=True)
    assert fake_cuda.chosen == chosen


def test_a_context_on_another_gpu_is_refused(engine: Path, fake_trt, fake_cuda) -> None:
    fake_cuda.context, fake_cuda.context_device = 77, 1
    with pytest.raises(cuda.CudaError, match="context is of cuda:1, but device is cuda:0"):
        open_session(engine, trust_engine=True)


def test_a_failed_capture_is_an_error_and_leaves_no_graph(engine: Path, fake_trt, fake_cuda, stand_ins) -> None:
    session = open_session(engine, trust_engine=True)
    fake_cuda.fail_capture = True
    with pytest.raises(cuda.CudaError, match="cudaStreamEndCapture failed with cudaErrorUnknown"):
        session.run(crops(1))
    fake_cuda.fail_capture = False
    np.testing.assert_allclose(session.run(crops(1)), stand_ins.averaged(crops(1), 17), rtol=1e-6)


def test_out_of_memory_names_the_sizes(engine: Path, fake_trt, fake_cuda, stand_ins) -> None:
    fake_cuda.room = 1000
    with pytest.raises(cuda.OutOfDeviceMemoryError, match=r"no room for \(4, 3, 64, 64\) of float32, 0\.2 MiB"):
        open_session(engine, trust_engine=True)


def test_an_engine_of_another_machine_says_why(engine: Path, fake_trt, fake_cuda, stand_ins) -> None:
    fake_cuda.capability = (7, 5)
    with pytest.raises(RuntimeError, match=r"compute capability 8\.6, 8\.9, here is 7\.5 \(Stand-in\)"):
        open_session(engine, trust_engine=True)
    fake_cuda.capability = (8, 6)
    type(fake_trt).__version__, version = "1.8", type(fake_trt).__version__
    try:
        with pytest.raises(RuntimeError, match=r"built by tensorrt_rtx 1\.7\.1\.116, here is 1\.8"):
            open_session(engine, trust_engine=True)
    finally:
        type(fake_trt).__version__ = version


def test_a_truncated_engine_a_cpu_and_a_stray_file_are_refused(engine: Path, fake_trt, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="device is cpu, but"):
        open_session(engine, device="cpu", trust_engine=True)
    stray = engine.with_name("stray.engine")
    stray.write_bytes(b"an engine")
    with pytest.raises(ValueError, match="is not in its bundle"):
        open_session(stray, trust_engine=True)
    engine.write_bytes(b"broken")
    with pytest.raises(ValueError, match="bytes, expected 9"):
        open_bundle(engine.parent)
    with pytest.raises(ValueError, match="bytes, expected 9"):
        open_session(engine, trust_engine=True)


def test_an_engine_that_the_library_refuses_is_named(engine: Path, fake_trt) -> None:
    bundle, name = open_bundle(engine.parent), engine.stem
    engine.write_bytes(b"broken")
    facts = bundle.artefacts[name]
    artefact = Artefact.of(engine, batch=facts.batch, batches=facts.batches, built_for=facts.built_for)
    write_manifest(replace(bundle, artefacts={**bundle.artefacts, name: artefact}))
    with pytest.raises(RuntimeError, match="is refused by tensorrt_rtx"):
        open_session(engine, trust_engine=True)


def test_an_engine_runs_only_where_somebody_said_so(engine: Path, fake_trt) -> None:
    bundle, name = open_bundle(engine.parent), engine.stem
    digest = bundle.artefacts[name].sha256
    for refused in (False, "0" * 64):
        with pytest.raises(ValueError, match="is an engine, that is, executable code by whoever built it"):
            open_artefact(bundle, name, "cuda", trust_engine=refused)
    for trusted in (True, digest, digest.upper()):
        assert open_artefact(bundle, name, "cuda", trust_engine=trusted).backend == "tensorrt_rtx"


def test_without_the_library_or_a_gpu_it_says_what_to_install(engine: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(ImportError, match=r"pip install 'lehrnet\[rtx\]'"):
        open_session(engine, trust_engine=True)


def test_every_cuda_name_is_the_real_library_s(stand_ins) -> None:
    runtime = importlib.import_module("cuda.bindings.runtime")

    driver = importlib.import_module("cuda.bindings.driver")
    names = [name for name in vars(stand_ins.FakeCuda) if name.startswith("cu")]
    assert len(names) > 20
    assert [name for name in names if not hasattr(runtime if name.startswith("cuda") else driver, name)] == []

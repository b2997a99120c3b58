"""The steps' GPU paths on stand-ins for CUDA, by the driver and by PyTorch, which run the kernels on the CPU."""

import contextlib
import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")

import torch

from lehrnet.benchmarks.gpu_day.steps import Settings
from lehrnet.benchmarks.gpu_day.work import (
    compile_times,
    form_times,
    kernel_times,
    launches,
    pipeline_times,
    place,
)
from lehrnet.benchmarks.gpu_day.work.job import Job
from lehrnet.pose.crop import crop_people
from lehrnet.runtime.cuda import launch
from lehrnet.runtime.cuda.launch import Kernels
from lehrnet.runtime.pytorch import graph_session
from lehrnet.runtime.pytorch.forms import TorchForm, gpu_network
from lehrnet.tests.runtime.fake_torch import FakeTorch, FakeTorchCuda


class TimedTorchCuda(FakeTorchCuda):
    """With what the places take of torch.cuda beside the session."""

    def __init__(self, fake_cuda) -> None:
        super().__init__(fake_cuda)
        outer = self

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                assert enable_timing

            def record(self, stream) -> None:
                assert stream.cuda_stream == outer.current[-1], "what is timed runs on the stream of its events"
                self.at = time.perf_counter()

            def synchronize(self) -> None:
                pass

            def elapsed_time(self, end: "Event") -> float:
                return max(1e-6, 1e3 * (end.at - self.at))

        self.Event = Event

    def Stream(self) -> SimpleNamespace:  # noqa: N802 - PyTorch's name
        return SimpleNamespace(cuda_stream=7)

    def current_stream(self) -> SimpleNamespace:
        return SimpleNamespace(cuda_stream=self.current[-1])

    def synchronize(self, device=None) -> None:
        assert self.fake_cuda.recording is None, "a capture does not wait"

    @contextlib.contextmanager
    def graph(self, made, pool="pool", stream=None, capture_error_mode="thread_local"):
        with super().graph(made, pool, stream, capture_error_mode):
            yield


@pytest.fixture
def gpu(fake_cuda, kernels, monkeypatch, tmp_path: Path) -> place.GpuPlace:
    fake_cuda.kernels = kernels
    fake = FakeTorch(fake_cuda)
    fake.cuda = TimedTorchCuda(fake_cuda)
    monkeypatch.setattr(graph_session, "torch", fake)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)

    def on_the_cpu(network, size, form, _):
        return gpu_network(network, size, form, torch.device("cpu"))

    monkeypatch.setattr(graph_session, "gpu_network", on_the_cpu)
    with_cpu = FakeTorch(fake_cuda)
    with_cpu.cuda = fake.cuda
    with_cpu.device = lambda *_: torch.device("cpu")  # type: ignore[attr-defined]
    monkeypatch.setattr(place, "torch", with_cpu)
    monkeypatch.setattr(place, "CALLS", 2)
    monkeypatch.setattr(place, "ROUNDS", 2)
    (tmp_path / "lehrnet.fatbin").write_bytes(b"kernels")
    monkeypatch.setattr(launch, "read_or_compile", lambda path, architecture: b"kernels")
    return place.GpuPlace()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "scratch").mkdir()
    return Job("a step", tmp_path / "a.json", tmp_path / "scratch", 100, Settings(rehearse=True))


def figures(job: Job) -> dict:
    return json.loads(job.out.read_text())


def test_kernels_are_launched_timed_and_set_beside_copies(job: Job, gpu, fake_cuda, monkeypatch) -> None:
    monkeypatch.setattr(place.GpuPlace, "number", torch.float32)
    kernel_times.measure(job, gpu, Kernels(b"kernels"))
    found = figures(job)["kernels"]
    assert list(found["ema"]) == [f"{channels} channels, float32" for channels in (32, 64, 128, 256)]
    for rows in (*found["ema"].values(), *found["crop"].values(), *found["decode"].values()):
        assert {row["microseconds"] > 0 for row in rows.values()} == {True}
        assert rows["2"]["bytes"] == pytest.approx(2 * rows["1"]["bytes"], rel=0.01)
    assert fake_cuda.launches > 0


@pytest.mark.slow
def test_forms_are_raced_with_eager_networks_and_neighbours(job: Job, gpu, monkeypatch) -> None:
    monkeypatch.setattr(place.GpuPlace, "number", torch.float32)  # FP16 takes a CPU minutes
    job.seconds = 1e6
    form_times.measure(job, gpu)
    found = figures(job)
    assert set(found["by_batch"]["2"]["speed_up"]) == {
        "eager, FP16", "hrnet_w32, eager, FP16", "torch_fp16", "hrnet_w32 as torch_fp16"
    }  # fmt: skip
    assert list(found["forms_by_batch"]["2"]["speed_up"]) == ["torch_fp16", "torch_fp32_dense3", "torch_fp32_dense2"]


@pytest.mark.slow
def test_compiled_networks_are_raced(job: Job, gpu) -> None:
    compile_times.measure(job, gpu)
    assert set(figures(job)["compiled_by_batch"]["1"]["speed_up"]) == {
        "eager, FP16", compile_times.COMPILED, "torch_fp16"
    }  # fmt: skip


@pytest.mark.slow
def test_the_pipeline_runs_end_to_end_and_beside_the_network_alone(job: Job, gpu) -> None:
    path = place.random_checkpoint(job, "lehrnet_w32")
    subject = pipeline_times.Subject(
        pipeline_times._gpu_run(path), pipeline_times._alone(gpu, path), place.spec_of(job)
    )
    pipeline_times.measure(job, gpu, subject)
    row = figures(job)["by_frames"]["1"]
    assert row["people"] == 8
    assert row["share_of_network"] > 0
    assert row["latency_ms"]["p90"] >= row["latency_ms"]["p50"] > 0


def test_small_launches_for_the_sanitizer_compute_what_they_should(gpu, fake_cuda, monkeypatch, capsys) -> None:
    made: list = []
    whole = launches.launch_all
    monkeypatch.setattr(launches, "launch_all", lambda ground: made.extend(whole(ground)))
    assert launches.main([]) == 0
    crops, keypoints, *maps = made
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*launches.FRAME, 3), dtype=np.uint8)
    boxes = np.array([[10, 5, 60, 84], [-20, -8, 90, 110], [5, 5, 62, 60]], np.float64)
    np.testing.assert_allclose(crops, crop_people(image, boxes, launches.SPEC)[0], atol=0.05)
    assert np.isfinite(keypoints).all()
    assert len(maps) == 2 * len(launches.EMA_SIZES)
    assert all(np.isfinite(each).all() and each.any() for each in maps)


def test_a_rehearsal_notes_the_same_launches(capsys) -> None:
    assert launches.main(["--stand-in"]) == 0
    said = capsys.readouterr().out.split()
    assert said[:2] == ["lehrnet_crop_fp32[32,3]x128+0", "lehrnet_decode[17,3]x128+0"]
    assert len(said) == 2 + 2 * len(launches.EMA_SIZES)


def test_a_form_s_calls_run_on_the_place_s_own_stream(job: Job, gpu, fake_cuda) -> None:
    run = gpu.form(place.random_checkpoint(job, "lehrnet_w32"), TorchForm(half=False), 2)
    with gpu.current():
        assert gpu.timed(run) > 0
    assert gpu.sessions[job.scratch / "lehrnet_w32.safetensors", "torch_fp32"].stream.handle == 7

"""Crop, engine and decode as one graph, on stand-ins that run the kernels' arithmetic: against the host's own way."""

import ctypes
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")

from lehrnet.pose.crop import crop_people
from lehrnet.pose.points import find_points
from lehrnet.runtime import PoseEstimator, cuda_kernels
from lehrnet.runtime.cuda_kernels import CropRecord, FrameRecord, Kernels
from lehrnet.runtime.cuda_pipeline import CudaPipeline
from lehrnet.runtime.tensorrt_session import TensorRtSession


@pytest.fixture
def pipeline(engine: Path, fake_trt, fake_cuda, kernels, tmp_path: Path):
    fake_cuda.kernels = kernels
    (tmp_path / "kernels.fatbin").write_bytes(b"kernels")
    session = TensorRtSession(engine)
    return CudaPipeline(session, session.spec, Kernels(tmp_path / "kernels.fatbin"))


def picture(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


BOXES = np.array([[10, 5, 40, 44], [-20.5, -8, 30.75, 60], [5, 5, 62, 20], [100, 100, 140, 180]], np.float64)


def wanted(items, spec, stand_ins) -> np.ndarray:
    parts = [np.empty((0, 17, 3), np.float32)]
    for image, boxes in items:
        crops, affines = crop_people(image, boxes, spec)
        parts.append(find_points(lambda crops: stand_ins.averaged(crops, 17), crops, affines, spec))
    return np.concatenate(parts)


def test_a_batch_of_several_frames_gives_what_the_host_finds(pipeline, fake_cuda, stand_ins) -> None:
    large, small = picture(1, 90, 120), picture(2, 48, 64)
    batches = [
        [(small, BOXES[:1]), (large, BOXES[1:3])],
        [(large, BOXES)],
        [(small, BOXES[2:3])],
        [(small, BOXES[:0]), (large, BOXES[:3])],
    ]
    for items in batches:
        found = pipeline.keypoints(items)
        np.testing.assert_allclose(found, wanted(items, pipeline.spec, stand_ins), atol=2e-3)
    assert fake_cuda.graphs == 2  # of 4 and of 1: captured once each
    assert fake_cuda.launches == len(batches)


def test_an_estimator_splits_people_over_the_engine_s_batches(
    pipeline, engine: Path, fake_cuda, stand_ins, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Kernels.__init__, "__defaults__", (tmp_path / "kernels.fatbin",))
    estimator = PoseEstimator.open(engine.parent, "fp32_tensorrt_rtx")
    image, many = picture(3, 90, 120), np.concatenate([BOXES] * 3)[:11]
    found = estimator(image, many)
    expected = wanted([(image, many)], estimator.spec, stand_ins)
    np.testing.assert_allclose(found.xy, expected[..., :2], atol=2e-3)
    assert len(found) == 11
    assert fake_cuda.launches == 3  # 4, 4 and 3


def test_without_kernels_crop_and_decode_stay_on_the_cpu_and_it_says_so(
    engine: Path, fake_trt, stand_ins, monkeypatch, caplog, tmp_path: Path
) -> None:
    monkeypatch.setattr(Kernels.__init__, "__defaults__", (tmp_path / "none.fatbin",))
    estimator = PoseEstimator.open(engine.parent, "fp32_tensorrt_rtx")
    assert "until then crop and decode run on the CPU" in caplog.text
    image = picture(3, 90, 120)
    expected = wanted([(image, BOXES)], estimator.spec, stand_ins)
    np.testing.assert_allclose(estimator(image, BOXES).xy, expected[..., :2], atol=2e-3)


class OnDevice:
    """What a GPU array of PyTorch, CuPy or PyCUDA gives."""

    def __init__(self, fake_cuda, image: np.ndarray, **changes) -> None:
        _, address = fake_cuda.cudaMalloc(image.nbytes)
        ctypes.memmove(address, image.ctypes.data, image.nbytes)
        interface = {"shape": image.shape, "typestr": "|u1", "data": (address, False), "version": 3}
        self.__cuda_array_interface__, self.shape = {**interface, **changes}, image.shape


def test_a_frame_on_the_gpu_is_read_where_it_lies(pipeline, fake_cuda, stand_ins) -> None:
    image = picture(4, 90, 120)
    before = len(pipeline._pixels)
    found = pipeline.keypoints([(OnDevice(fake_cuda, image), BOXES[:3])])
    np.testing.assert_allclose(found, wanted([(image, BOXES[:3])], pipeline.spec, stand_ins), atol=2e-3)
    assert len(pipeline._pixels) == before


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"typestr": "<f4"}, "type <f4, expected"),
        ({"shape": (90, 120)}, r"shape \(90, 120\)"),
        ({"strides": (360, 1, 120)}, "rows of interleaved BGR"),
        ({"data": (12345, False)}, "the host's memory, expected cuda:0"),
    ],
)
def test_a_frame_of_another_kind_is_refused(changes: dict, reason: str, pipeline, fake_cuda) -> None:
    with pytest.raises(ValueError, match=reason):
        pipeline.keypoints([(OnDevice(fake_cuda, picture(4, 90, 120), **changes), BOXES[:1])])


def test_a_frame_on_another_gpu_is_refused(pipeline, fake_cuda) -> None:
    fake_cuda.frame_device = 1
    with pytest.raises(ValueError, match="lies in cuda:1, expected cuda:0"):
        pipeline.keypoints([(OnDevice(fake_cuda, picture(4, 90, 120)), BOXES[:1])])


def test_a_frame_on_the_gpu_is_not_copied_in_silence(tiny_bundle: Path, fake_cuda) -> None:
    estimator = PoseEstimator.open(tiny_bundle, device="cpu")
    with pytest.raises(ValueError, match="the frame lies on a GPU"):
        estimator(OnDevice(fake_cuda, picture(4, 90, 120)), BOXES[:1])  # type: ignore[arg-type]


def test_nobody_is_nothing(pipeline, fake_cuda) -> None:
    assert pipeline.keypoints([(picture(0, 8, 8), BOXES[:0])]).shape == (0, 17, 3)
    assert fake_cuda.launches == 0


def test_a_broken_heatmap_names_its_person(pipeline, fake_trt, stand_ins, monkeypatch) -> None:
    def broken(crops: np.ndarray, joints: int) -> np.ndarray:
        heatmaps = np.zeros((len(crops), joints, 16, 16), np.float32)
        heatmaps[1, 3, 2, 2] = np.nan
        return heatmaps

    monkeypatch.setattr(stand_ins, "averaged", broken)
    with pytest.raises(ValueError, match="person 1, joint 3 holds NaN"):
        pipeline.keypoints([(picture(0, 60, 60), BOXES[:2])])


def test_close_gives_everything_back_and_may_be_said_twice(pipeline, fake_cuda) -> None:
    pipeline.keypoints([(picture(0, 60, 60), BOXES[:2])])
    pipeline.close()
    pipeline.close()
    assert (fake_cuda.blocks, fake_cuda.streams, fake_cuda.graphs) == ({}, 0, 0)


def test_records_are_those_of_the_kernels() -> None:
    assert ctypes.sizeof(FrameRecord) == 48
    assert ctypes.sizeof(CropRecord) == 40


def test_without_compiled_kernels_it_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="`make kernels` compiles them"):
        Kernels(tmp_path / "none.fatbin")
    assert cuda_kernels.FATBIN.parent.is_dir()

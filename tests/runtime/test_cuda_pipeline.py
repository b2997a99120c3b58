"""Crop, engine and decode as one graph, on stand-ins that run the kernels' arithmetic: against the host's own way."""

import ctypes
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")

from lehrnet.pose.crop import crop_people
from lehrnet.pose.points import find_points
from lehrnet.runtime import PoseEstimator
from lehrnet.runtime.cuda.driver import Gpu, OutOfDeviceMemoryError
from lehrnet.runtime.cuda.launch import CropRecord, FrameRecord, Kernels, kernel_image
from lehrnet.runtime.cuda.pipeline import CudaPipeline
from lehrnet.runtime.cuda.tensorrt import TensorRtSession


@pytest.fixture
def pipeline(engine: Path, fake_trt, fake_cuda, kernels):
    fake_cuda.kernels = kernels
    session = TensorRtSession(engine)
    return CudaPipeline(session, session.spec, Kernels(b"kernels"))


def keypoints(pipeline: CudaPipeline, items) -> np.ndarray:
    """Of one batch."""
    (found,) = pipeline.run([items])
    return found


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
    for found, items in zip(pipeline.run(batches * 2), batches * 2, strict=True):
        np.testing.assert_allclose(found, wanted(items, pipeline.spec, stand_ins), atol=2e-3)
    assert fake_cuda.graphs == 3  # of 4 on both lanes, of 1 on the first: captured once each
    assert fake_cuda.launches == 2 * len(batches)


def test_the_next_batch_is_uploaded_while_one_is_computed(pipeline, fake_cuda, stand_ins) -> None:
    """Two are on their way; the network's stream waits for the upload of each, the host for none before its turn."""
    said = []
    batches = [[(picture(number, 60, 60), BOXES[:2])] for number in range(4)]

    def given():
        for number, items in enumerate(batches):
            said.append(f"give {number}")
            yield items

    for number, found in enumerate(pipeline.run(given())):
        said.append(f"found {number}")
        np.testing.assert_allclose(found, wanted(batches[number], pipeline.spec, stand_ins), atol=2e-3)
    assert said == [
        *("give 0", "give 1", "give 2", "found 0", "give 3", "found 1", "found 2", "found 3"),
    ]
    uploads, network = pipeline._uploads.handle, pipeline.session.stream.handle
    assert uploads != network
    uploaded = [lane.uploaded.handle for lane in pipeline._lanes]
    assert fake_cuda.waits == [(network, event) for event in uploaded * 2]
    assert [stream for event, stream in fake_cuda.recorded if event in uploaded] == [uploads] * 4


def test_a_run_that_is_given_up_leaves_the_pipeline_usable(pipeline, stand_ins) -> None:
    items = [(picture(1, 60, 60), BOXES[:2])]
    for _ in pipeline.run([items] * 5):
        break
    np.testing.assert_allclose(keypoints(pipeline, items), wanted(items, pipeline.spec, stand_ins), atol=2e-3)


def test_keypoints_may_stay_on_the_gpu(pipeline, stand_ins) -> None:
    batches = [[(picture(number, 60, 60), BOXES[:count])] for number, count in ((1, 2), (2, 3))]
    left = [pipeline.on_device(items) for items in batches]
    for array, items in zip(left, batches, strict=True):
        interface = array.__cuda_array_interface__
        found = np.ctypeslib.as_array((ctypes.c_float * int(np.prod(array.shape))).from_address(array.address))
        expected = wanted(items, pipeline.spec, stand_ins)
        np.testing.assert_allclose(found.reshape(interface["shape"]), expected, atol=2e-3)
        assert interface["stream"] == pipeline.session.stream.handle


def test_an_estimator_splits_people_over_the_engine_s_batches(
    pipeline, engine: Path, fake_cuda, stand_ins, monkeypatch
) -> None:
    monkeypatch.setattr("lehrnet.runtime.cuda.launch.kernel_image", lambda gpu: b"kernels")
    estimator = PoseEstimator.open(engine.parent, "fp32_tensorrt_rtx", trust_engine=True)
    image, many = picture(3, 90, 120), np.concatenate([BOXES] * 3)[:11]
    found = estimator(image, many)
    expected = wanted([(image, many)], estimator.spec, stand_ins)
    np.testing.assert_allclose(found.xy, expected[..., :2], atol=2e-3)
    assert len(found) == 11
    assert fake_cuda.launches == 3  # 4, 4 and 3


def test_without_kernels_crop_and_decode_stay_on_the_cpu_and_it_says_so(
    engine: Path, fake_trt, stand_ins, monkeypatch, caplog, tmp_path: Path
) -> None:
    monkeypatch.setattr("lehrnet.runtime.cuda.launch.kernel_image", partial(kernel_image, folder=tmp_path))
    estimator = PoseEstimator.open(engine.parent, "fp32_tensorrt_rtx", trust_engine=True)
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


class ByDlpack:
    """What JAX or a video decoder gives: NumPy's capsule, said to be a GPU's."""

    def __init__(self, fake_cuda, image: np.ndarray) -> None:
        _, address = fake_cuda.cudaMalloc(image.nbytes)
        ctypes.memmove(address, image.ctypes.data, image.nbytes)
        self.memory = np.ctypeslib.as_array((ctypes.c_uint8 * image.nbytes).from_address(address)).reshape(image.shape)
        self.shape, self.streams = image.shape, []

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, *, stream: int):
        self.streams.append(stream)
        return self.memory.__dlpack__()


@pytest.mark.parametrize("kind", [OnDevice, ByDlpack])
def test_a_frame_on_the_gpu_is_read_where_it_lies(kind, pipeline, fake_cuda, stand_ins) -> None:
    image = picture(4, 90, 120)
    frame = kind(fake_cuda, image)
    found = keypoints(pipeline, [(frame, BOXES[:3])])
    np.testing.assert_allclose(found, wanted([(image, BOXES[:3])], pipeline.spec, stand_ins), atol=2e-3)
    assert not any(lane.pixels for lane in pipeline._lanes)
    if isinstance(frame, ByDlpack):
        assert frame.streams == [pipeline._uploads.handle]  # its producer orders its work before ours


def test_a_frame_s_writer_is_waited_for_by_the_gpu_not_by_the_host(pipeline, fake_cuda) -> None:
    keypoints(pipeline, [(OnDevice(fake_cuda, picture(4, 90, 120), stream=42), BOXES[:1])])
    event = pipeline._lanes[0].uploaded.handle
    assert fake_cuda.recorded[0] == (event, 42)
    assert fake_cuda.waits[0] == (pipeline._uploads.handle, event)


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
        keypoints(pipeline, [(OnDevice(fake_cuda, picture(4, 90, 120), **changes), BOXES[:1])])


def test_a_frame_on_another_gpu_is_refused(pipeline, fake_cuda) -> None:
    fake_cuda.frame_device = 1
    with pytest.raises(ValueError, match="is in cuda:1, expected cuda:0"):
        keypoints(pipeline, [(OnDevice(fake_cuda, picture(4, 90, 120)), BOXES[:1])])


def test_a_frame_on_the_gpu_is_not_copied_in_silence(tiny_bundle: Path, fake_cuda) -> None:
    estimator = PoseEstimator.open(tiny_bundle, device="cpu", trust_engine=True)
    with pytest.raises(ValueError, match="the frame is on a GPU"):
        estimator(OnDevice(fake_cuda, picture(4, 90, 120)), BOXES[:1])  # type: ignore[arg-type]


def test_nobody_is_nothing(pipeline, fake_cuda) -> None:
    assert keypoints(pipeline, [(picture(0, 8, 8), BOXES[:0])]).shape == (0, 17, 3)
    assert fake_cuda.launches == 0


def test_a_broken_heatmap_names_its_person(pipeline, fake_trt, stand_ins, monkeypatch) -> None:
    def broken(crops: np.ndarray, joints: int) -> np.ndarray:
        heatmaps = np.zeros((len(crops), joints, 16, 16), np.float32)
        heatmaps[1, 3, 2, 2] = np.nan
        return heatmaps

    monkeypatch.setattr(stand_ins, "averaged", broken)
    with pytest.raises(ValueError, match="person 1, joint 3 holds NaN"):
        keypoints(pipeline, [(picture(0, 60, 60), BOXES[:2])])


def test_close_gives_everything_back_and_may_be_said_twice(pipeline, fake_cuda) -> None:
    keypoints(pipeline, [(picture(0, 60, 60), BOXES[:2])])
    pipeline.close()
    pipeline.close()
    assert (fake_cuda.blocks, fake_cuda.streams, fake_cuda.graphs, fake_cuda.events) == ({}, 0, 0, 0)
    with pytest.raises(ValueError, match="the session is closed"):
        keypoints(pipeline, [(picture(0, 60, 60), BOXES[:2])])


def test_records_are_those_of_the_kernels() -> None:
    assert ctypes.sizeof(FrameRecord) == 48
    assert ctypes.sizeof(CropRecord) == 80


@pytest.mark.parametrize(("driver", "name"), [("13.0", "lehrnet.fatbin"), ("12.6", "lehrnet_cuda12.ptx")])
def test_a_driver_gets_the_kernels_that_it_takes(driver: str, name: str, tmp_path: Path, monkeypatch) -> None:
    orin = Gpu("Orin", "8.7", driver, 1000, 2000)
    with pytest.raises(FileNotFoundError, match=f"{name}: `make kernels` compiles them, with nvcc .*NVRTC"):
        kernel_image(orin, tmp_path)
    monkeypatch.setattr("lehrnet.runtime.cuda.launch.compile_kernels", lambda architecture: architecture.encode())
    assert kernel_image(orin, tmp_path) == b"sm_87"
    (tmp_path / name).write_bytes(b"ahead of time")
    assert kernel_image(orin, tmp_path) == b"ahead of time\0"


def test_out_of_memory_leaves_nothing_behind_and_the_session_usable(
    engine: Path, fake_trt, fake_cuda, stand_ins
) -> None:
    session = TensorRtSession(engine)
    blocks, fake_cuda.room = len(fake_cuda.blocks), 100
    with pytest.raises(OutOfDeviceMemoryError, match="no room for"):
        CudaPipeline(session, session.spec, Kernels(b"kernels"))
    assert len(fake_cuda.blocks) == blocks
    crops = np.zeros((1, 3, 64, 64), np.float32)
    np.testing.assert_allclose(session.run(crops), stand_ins.averaged(crops, 17))

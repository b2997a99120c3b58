"""The CUDA kernels' arithmetic, on the CPU, against the definitions in NumPy; and their compilation."""

import ctypes
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lehrnet.pose.crop import sample_bilinear
from lehrnet.pose.frame import person_affines
from lehrnet.pose.heatmap import DECODE_METHODS, FRAMES, Frame, encode, fuse_flipped
from lehrnet.pose.points import find_points
from lehrnet.pose.spec import COCO, PoseSpec

pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")

from lehrnet.runtime.cuda.launch import CropRecord, DecodeRecord

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="compiling takes g++")

SPEC = replace(COCO, input_size=(64, 32))
BOXES = np.array([[10, 5, 40, 44], [-20.5, -8.25, 30.75, 60], [30.25, 20.5, 33.5, 26.75], [90, 90, 99, 99]], np.float32)
FORMATS = {"bgr": 0, "rgb": 1, "bgra": 2, "rgba": 3, "gray": 4, "nv12": 5}


def pointer(array: NDArray) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


def affines_of(boxes: NDArray[np.float32], spec: PoseSpec = SPEC) -> NDArray[np.float64]:
    affines = person_affines(boxes.astype(np.float64), spec)
    return np.ascontiguousarray(affines[:, [0, 1, 0, 1], [0, 1, 2, 2]])


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("name", FORMATS)
def test_a_crop_is_the_definition_s(name: str, frame: Frame, kernels: ctypes.CDLL) -> None:
    rng = np.random.default_rng(3)
    bgr = np.asarray(cv2.GaussianBlur(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8), (0, 0), 1.5), np.uint8)
    planes = {"bgr": [0, 1, 2], "rgb": [2, 1, 0], "bgra": [0, 1, 2, 0], "rgba": [2, 1, 0, 1], "gray": [1]}
    chroma = None
    if name == "nv12":
        picture = rng.integers(0, 256, (72, 64), dtype=np.uint8)
        bgr = np.asarray(cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_NV12), np.uint8)
        chroma = pointer(picture[48:])
    else:
        picture = np.ascontiguousarray(bgr[..., planes[name]])
        bgr = bgr[..., [1, 1, 1]] if name == "gray" else bgr
    scale, shift = 1 / (255 * np.array(SPEC.std)), -np.array(SPEC.mean) / np.array(SPEC.std)
    framed = replace(SPEC, frame=frame)
    spec = CropRecord.of(framed)
    found, affines = np.empty((len(BOXES), 3, 64, 32), np.float32), np.empty((len(BOXES), 4))
    kernels.crop_on_the_cpu(
        pointer(picture), chroma, 64, 48, picture.strides[0], FORMATS[name], pointer(BOXES), len(BOXES),
        ctypes.byref(spec), pointer(found), pointer(affines),
    )  # fmt: skip
    np.testing.assert_allclose(affines, affines_of(BOXES, framed), rtol=1e-12, atol=1e-12)
    for person, affine in enumerate(person_affines(BOXES.astype(np.float64), framed)):
        levels = sample_bilinear(bgr, affine, SPEC.input_size)[..., ::-1].transpose(2, 0, 1)
        wanted = levels * scale[:, None, None] + shift[:, None, None]
        np.testing.assert_allclose(found[person], wanted, atol=1 / 255 / min(SPEC.std) / 100)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("method", DECODE_METHODS)
@pytest.mark.parametrize("flip", [False, True])
def test_keypoints_are_the_definition_s(method, flip: bool, frame: Frame, kernels: ctypes.CDLL) -> None:
    spec = replace(SPEC, decode=method, frame=frame)
    rng = np.random.default_rng(5)
    points = rng.uniform(-1, (9, 17), (len(BOXES), 17, 2))
    heatmaps = encode(points, (16, 8), 2.0) + rng.normal(0, 0.01, (len(BOXES), 17, 16, 8)).astype(np.float32)
    heatmaps[0, 0], heatmaps[0, 1] = 0.25, -heatmaps[0, 1]
    mirrored, mirror = heatmaps[::-1].copy(), np.array(SPEC.skeleton.mirror, np.int32)
    found, affines = np.empty((len(BOXES), 17, 3), np.float32), affines_of(BOXES, spec)
    kernels.decode_on_the_cpu(
        pointer(heatmaps), pointer(mirrored) if flip else None, pointer(mirror), pointer(affines),
        len(BOXES), 17, ctypes.byref(DecodeRecord.of(spec)), pointer(found),
    )  # fmt: skip
    heatmaps = fuse_flipped(heatmaps, mirrored, SPEC.skeleton.mirror, frame) if flip else heatmaps
    crops = np.zeros((len(BOXES), 3, 64, 32), np.float32)
    whole = person_affines(BOXES.astype(np.float64), spec)
    wanted = find_points(lambda _: heatmaps, crops, whole, spec)
    np.testing.assert_allclose(found[..., :2], wanted[..., :2], atol=0.01)
    np.testing.assert_array_equal(found[..., 2], wanted[..., 2])


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_broken_heatmap_gives_nan_not_a_guess(broken: float, kernels: ctypes.CDLL) -> None:
    heatmaps = np.random.default_rng(0).random((1, 2, 16, 8), np.float32)
    heatmaps[0, 1, 7, 3] = broken
    found, affines = np.empty((1, 2, 3), np.float32), affines_of(BOXES[:1])
    record = DecodeRecord.of(replace(SPEC, decode="dark"))
    kernels.decode_on_the_cpu(
        pointer(heatmaps), None, None, pointer(affines), 1, 2, ctypes.byref(record), pointer(found)
    )
    assert np.isfinite(found[0, 0]).all()
    assert np.isnan(found[0, 1, :2]).all()
    assert not np.isfinite(found[0, 1, 2])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc on this machine")
def test_kernels_compile_for_every_architecture_without_spills(tmp_path: Path) -> None:
    from lehrnet.benchmarks.kernels import ARCHITECTURES, compile_all

    report = compile_all(tmp_path / "lehrnet.fatbin")
    assert (tmp_path / "lehrnet.fatbin").stat().st_size > 10_000
    assert set(ARCHITECTURES) == {architecture for kernel in report.values() for architecture in kernel}
    for name, kernel in report.items():
        for architecture, used in kernel.items():
            assert used["spilled_bytes"] == 0, (name, architecture)


@pytest.mark.slow
def test_nvrtc_12_makes_ptx_that_orin_s_driver_takes(tmp_path: Path) -> None:
    """As `make kernels` does; ptxas then finishes it as the driver would."""
    root = Path(__file__).resolve().parents[2]
    subprocess.run(["make", "build/cuda12/ready"], cwd=root, check=True)
    ptx = tmp_path / "kernels.ptx"
    subprocess.run([root / "build/cuda12/bin/python", "-I", root / "runtime/cuda/nvrtc.py", ptx], check=True)
    text = ptx.read_text()
    assert ".version 8.2\n.target sm_72\n" in text
    for name in ("crop_fp32", "crop_fp16", "decode", "ema_fp32", "ema_fp16"):
        assert f".entry lehrnet_{name}(" in text
    if shutil.which("ptxas") is None:
        pytest.skip("no ptxas to finish it with")
    command = ["ptxas", "-v", "-arch=sm_87", str(ptx), "-o", str(tmp_path / "kernels.cubin")]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    assert said.count(" 0 bytes spill stores, 0 bytes spill loads") == 5

"""What the stand-ins cannot show: on a machine with an NVIDIA GPU, after `make kernels`."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")

import torch

from lehrnet.model.ema import EMA
from lehrnet.model.forms import FrozenEMA, group_weights
from lehrnet.runtime import PoseEstimator, open_bundle
from lehrnet.runtime.cuda.pipeline import CudaPipeline
from lehrnet.runtime.pytorch.forms import neighbours
from lehrnet.runtime.pytorch.operators import ema
from lehrnet.runtime.session import open_artefact

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no GPU on this machine"),
]
BOXES = np.array([[10, 5, 60, 94], [-20.5, -8, 90.75, 110], [5, 5, 62, 60], [70, 20, 150, 118]], np.float64)


@pytest.fixture(scope="module")
def weights_bundle(tiny_checkpoint, tmp_path_factory) -> Path:
    """The tiny network's weights alone: a borrowed machine need not have what exports graphs."""
    from lehrnet.model.checkpoint import save_checkpoint
    from lehrnet.runtime.bundle import WEIGHTS, Artefact, Bundle, write_manifest

    root = tmp_path_factory.mktemp("weights") / "bundle"
    root.mkdir()
    save_checkpoint(root / "model.safetensors", tiny_checkpoint)
    weights = Artefact.of(root / "model.safetensors")
    write_manifest(Bundle(root, "custom", tiny_checkpoint.spec, True, "for tests", {WEIGHTS: weights}))
    return root


@pytest.fixture
def estimator(weights_bundle: Path) -> PoseEstimator:
    opened = PoseEstimator.open(weights_bundle, "torch_fp32", "cuda")
    assert isinstance(opened.pipeline, CudaPipeline), "crop and decode are not on the GPU: make kernels"
    return opened


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("channels", "grid"), [(32, (64, 48)), (64, (32, 24)), (128, (16, 12)), (256, (8, 6))])
@pytest.mark.parametrize("half", [False, True])
def test_the_ema_kernel_is_its_definition(channels: int, grid: tuple[int, int], last: bool, half: bool) -> None:
    torch.manual_seed(0)
    module = EMA(channels, 32)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    weights = list(group_weights(FrozenEMA(module, grid)).values())
    layout = torch.channels_last if last else torch.contiguous_format
    maps, shortcut = (torch.randn(3, channels, *grid).contiguous(memory_format=layout) for _ in range(2))
    if half:
        maps, shortcut = maps.half(), shortcut.half()
    wanted = ema(maps, shortcut, weights, 32, module.norm.eps)
    on_gpu = [weight.cuda() for weight in weights]
    found = ema(maps.cuda(), shortcut.cuda(), on_gpu, 32, module.norm.eps).cpu()
    scale = float(wanted.abs().max())
    torch.testing.assert_close(found, wanted, atol=scale * (2e-3 if half else 2e-5), rtol=0)


@pytest.mark.parametrize("form", [*neighbours(half=False), *neighbours(half=True)], ids=lambda form: form.name)
def test_every_form_gives_the_reference_s_heatmaps(form, weights_bundle: Path) -> None:
    bundle = open_bundle(weights_bundle)
    crops = np.random.default_rng(0).standard_normal((5, 3, 64, 64), dtype=np.float32)
    wanted = open_artefact(bundle, "weights", "cpu").run(crops)
    session = open_artefact(bundle, form.name, "cuda")
    bound = (0.01 if form.half else 1e-3) * float(np.ptp(wanted))  # of FP32 too: TF32 is the GPU's default for convs
    for count in (5, 1, 3, 5):  # replays of several graphs, whose streams must not disturb each other
        np.testing.assert_allclose(session.run(crops[:count]), wanted[:count], atol=bound)


def test_crop_and_decode_are_the_host_s(estimator: PoseEstimator, image) -> None:
    host = PoseEstimator(estimator.session, estimator.spec)
    items = [(image, BOXES), (np.ascontiguousarray(image[:, ::-1]), BOXES[:2]), (image, BOXES[1:])] * 20
    for found, wanted in zip(estimator.run_many(items), host.run_many(items), strict=True):
        np.testing.assert_allclose(found.xy, wanted.xy, atol=0.01)
        np.testing.assert_allclose(found.score, wanted.score, atol=1e-3)


def test_frames_and_keypoints_stay_on_the_gpu(estimator: PoseEstimator, image) -> None:
    wanted = estimator(image, BOXES)
    frame = torch.from_numpy(image).cuda()
    np.testing.assert_allclose(estimator(frame, BOXES).xy, wanted.xy, atol=1e-4)  # type: ignore[arg-type]
    assert isinstance(estimator.pipeline, CudaPipeline)
    left = torch.as_tensor(estimator.pipeline.on_device([(frame, BOXES)]), device="cuda")
    np.testing.assert_allclose(left[..., :2].cpu().numpy(), wanted.xy, atol=1e-4)
    assert float((torch.ones(3, device="cuda") * 2).sum()) == 6  # PyTorch goes on beside us


def test_pycuda_s_context_and_arrays_are_taken(image) -> None:
    """Its own context, in a process of its own: PyTorch would keep the primary one."""
    pytest.importorskip("pycuda", reason="PyCUDA is not installed: ../shared/LAB.md says how it is built")
    from multiprocessing import get_context

    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(_beside_pycuda, (image,)) == "read where it lies"


def _beside_pycuda(image: np.ndarray) -> str:
    from pycuda import driver, gpuarray  # type: ignore[import-not-found]

    from lehrnet.runtime.cuda.arrays import DeviceArray, DeviceFrame
    from lehrnet.runtime.cuda.driver import HostDeviceBuffer, Stream, use_device

    driver.init()
    context = driver.Device(0).make_context()
    try:
        use_device(0)
        stream = Stream()
        frame = DeviceFrame.of(gpuarray.to_gpu(image), 0, stream)
        assert (frame.height, frame.width) == image.shape[:2]
        buffer = HostDeviceBuffer((2, 3))
        buffer.host[:] = 7
        buffer.upload(2, stream)
        taken = gpuarray.GPUArray((2, 3), np.float32, gpudata=DeviceArray(buffer.address, (2, 3), 0, stream).address)
        stream.synchronize()
        assert (taken.get() == 7).all()
        buffer.close()
        return "read where it lies"
    finally:
        context.pop()

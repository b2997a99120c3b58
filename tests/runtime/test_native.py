"""Our CPU engine against PyTorch: every variant, set of instructions, batch and grid, and files that are damaged."""

import os
import struct
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxsim")

from lehrnet.benchmarks.native_door import Door, DoorEngine  # noqa: E402
from lehrnet.cli import main  # noqa: E402
from lehrnet.export import export_bundle  # noqa: E402
from lehrnet.export.native import HEADER, NATIVE, native_bytes, native_tensors, write_native  # noqa: E402
from lehrnet.model import NetworkConfig, PoseNetwork  # noqa: E402
from lehrnet.model.config import VARIANTS  # noqa: E402
from lehrnet.model.cost import network_cost  # noqa: E402
from lehrnet.runtime import PoseEstimator  # noqa: E402
from lehrnet.runtime.backends.library import LibrarySession  # noqa: E402
from lehrnet.runtime.backends.library_path import ENVIRONMENT  # noqa: E402
from lehrnet.runtime.backends.native import NativePipeline, NativeSession  # noqa: E402
from lehrnet.runtime.bundle import Artefact, Bundle, write_manifest  # noqa: E402
from lehrnet.runtime.session import open_artefact  # noqa: E402
from lehrnet.tests.runtime.embed_builds import MARKS  # noqa: E402
from lehrnet.tests.runtime.native_twins import SMALL, crops_of  # noqa: E402

TOLERANCE = 2e-5  # of the heatmaps' greatest value; PyTorch's own single precision is half of it away
ODD_SIZES = ((64, 32), (32, 96))  # the second's coarsest maps are one row
WIDTHS = {f"width {width}": replace(SMALL, width=width, units=2) for width in (4, 8, 12, 16, 20, 24, 32, 36, 48)}
KINDS = {
    "lean": replace(SMALL, width=32, attention=False),
    "literal": replace(SMALL, width=16, light_convs=False),
    "dense": replace(SMALL, width=16, light_convs=False, light_units=False, attention=False),
    "as wide as stage 1": replace(SMALL, width=256, attention=False),
    "wider than stage 1": replace(SMALL, width=260),
    "one joint": replace(SMALL, joints=1),
    "many joints": replace(SMALL, joints=133),
    "several modules": replace(SMALL, units=2, modules=(2, 1, 3)),
}

pytestmark = [*MARKS, pytest.mark.usefixtures("one_thread")]


def defined(network: PoseNetwork, crops: np.ndarray) -> np.ndarray:
    """Heatmaps by PyTorch, in double precision."""
    with torch.no_grad():
        heatmaps = network.double()(torch.from_numpy(crops).double()).numpy()
    network.float()
    return heatmaps


def assert_alike(found: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE * np.abs(wanted).max())


@pytest.mark.parametrize("config", [*WIDTHS.values(), *KINDS.values()], ids=[*WIDTHS, *KINDS])
def test_heatmaps_are_pytorchs_for_every_kind_of_network(door: Door, network_of, config: NetworkConfig) -> None:
    network = network_of(config)
    content = native_bytes(network)
    for count, size in enumerate(ODD_SIZES, 1):
        crops = crops_of(count, size)
        wanted = defined(network, crops)
        for instructions in door.instructions():
            engine = DoorEngine(door, content, size, instructions)
            assert_alike(engine.run(crops), wanted)
            engine.close()


@pytest.mark.parametrize("name", VARIANTS)
def test_heatmaps_are_pytorchs_for_every_named_variant(door: Door, network_of, name: str) -> None:
    network, size = network_of(VARIANTS[name]), (96, 64)
    crops = crops_of(2, size)
    wanted = defined(network, crops)
    for instructions in door.instructions():
        engine = DoorEngine(door, native_bytes(network), size, instructions, max_batch=2)
        assert_alike(engine.run(crops), wanted)
        engine.close()


def test_a_map_of_one_cell_is_a_map(door: Door, network_of) -> None:
    network, crops = network_of(KINDS["lean"]), crops_of(2, (32, 32))
    for instructions in door.instructions():
        assert_alike(
            DoorEngine(door, native_bytes(network), (32, 32), instructions).run(crops), defined(network, crops)
        )


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (128, 96)])
def test_batches_and_threads_do_not_change_a_bit(door: Door, network_of, size: tuple[int, int]) -> None:
    """How people are spread over passes and threads must not reach the numbers."""
    content, crops = native_bytes(network_of(SMALL)), crops_of(5, size)
    for instructions in door.instructions():
        wanted = DoorEngine(door, content, size, instructions).run(crops)
        assert np.isfinite(wanted).all()
        for max_batch, threads in ((1, 3), (2, 1), (3, 2), (5, 1), (5, 2)):
            engine = DoorEngine(door, content, size, instructions, max_batch=max_batch, threads=threads)
            for _ in range(2):
                np.testing.assert_array_equal(engine.run(crops), wanted)
            engine.close()


@pytest.mark.parametrize("scale", [0.0, 1e-42, 1e-20, 1e3])
def test_tiny_and_huge_crops_keep_the_tolerance(door: Door, network_of, scale: float) -> None:
    network, size = network_of(SMALL), (64, 96)
    crops = (crops_of(1, size) * scale).astype(np.float32)
    for instructions in door.instructions():
        assert_alike(DoorEngine(door, native_bytes(network), size, instructions).run(crops), defined(network, crops))


def test_what_is_not_a_number_stays_so(door: Door, network_of) -> None:
    content, crops = native_bytes(network_of(SMALL)), crops_of(2, (64, 64))
    crops[0, 0, 30, 30] = np.nan
    for instructions in door.instructions():
        heatmaps = DoorEngine(door, content, (64, 64), instructions, max_batch=2).run(crops)
        assert np.isnan(heatmaps[0]).any()
        assert np.isfinite(heatmaps[1]).all()


def test_the_variance_of_a_map_far_from_zero_is_exact(door: Door, network_of) -> None:
    """Single-pass sums of squares lose it: EMA's input moved by a thousand times its spread."""
    network, size = network_of(replace(SMALL, width=32)), (128, 96)
    for unit in (module for module in network.modules() if hasattr(module, "attention")):
        torch.nn.init.constant_(unit.second.norm.bias, 300)
    crops = crops_of(1, size)
    wanted = defined(network, crops)
    with torch.no_grad():
        in_floats = np.abs(network(torch.from_numpy(crops)).numpy() - wanted).max()
    for instructions in door.instructions():
        found = DoorEngine(door, native_bytes(network), size, instructions).run(crops)
        assert np.abs(found - wanted).max() < 4 * in_floats + TOLERANCE * np.abs(wanted).max()


def test_the_artefact_is_what_its_page_says(network_of) -> None:
    network = network_of(SMALL)
    content, tensors = native_bytes(network), list(native_tensors(network))
    magic, version, order, total, *numbers = HEADER.unpack_from(content)
    assert (magic, version, order, total) == (b"LEHRNETN", 1, 0x01020304, len(content))
    assert numbers == [17, 8, 1, 1, 1, 1, 1, 1, 1, len(tensors)]
    end = HEADER.size + 24 * len(tensors)
    for place, tensor in enumerate(tensors):
        *sizes, offset = struct.unpack_from("<4IQ", content, HEADER.size + 24 * place)
        assert sizes == [*tensor.shape, *[1] * (4 - tensor.ndim)]
        assert offset % 64 == 0
        assert offset >= end
        end = offset + tensor.nbytes
        np.testing.assert_array_equal(np.frombuffer(content, "<f4", tensor.size, offset), tensor.ravel())


def test_a_file_cut_short_or_lengthened_is_refused(door: Door, network_of) -> None:
    content = native_bytes(network_of(SMALL))
    for length in {0, 1, 8, 23, 24, 63, 64, 65, 1000, len(content) // 2, len(content) - 64, len(content) - 1}:
        with pytest.raises(ValueError, match="is no packed network|says that it has"):
            DoorEngine(door, content[:length], (64, 64), "plain")
        if length < len(content) - 1:  # the last byte fills up a line
            told = content[:16] + struct.pack("<Q", length) + content[24:length]
            with pytest.raises(ValueError, match="the artefact"):
                DoorEngine(door, told[:length], (64, 64), "plain")
    with pytest.raises(ValueError, match="says that it has"):
        DoorEngine(door, content + bytes(64), (64, 64), "plain")


@pytest.mark.parametrize(
    ("at", "number", "words"),
    [
        (0, 0, "is no packed network"),
        (8, 3, "is packed in version 3, this library reads 1 to 2"),
        (12, 0x04030201, "has its bytes in another order"),
        (24, 0, "joints is 0, expected 1 to 1024"),
        (28, 30, "width is 30, expected a multiple of 4"),
        (28, 16, "tensor .* is .*, expected"),
        (32, 2, "expected"),
        (36, 4_000_000_000, "modules is 4000000000, expected 1 to 16"),
        (48, 0, "it has attention without light_units"),
        (52, 2, "light_convs is 2, expected 0 to 1"),
        (56, 0, "expected"),
        (60, 3, "has 3 tensors, and its network takes more"),
        (60, 0xFFFFFFFF, "says that it has 4294967295 tensors"),
        (64, 65, "tensor 0 is 65x3x3x3, expected 64x3x3x3"),
        (80, 1, "begins at 1, expected a multiple of 64"),
        (84, 0xFFFFFFFF, "and all of it within"),
        (104, 0, "begins at 0, expected a multiple of 64 from"),
    ],
)
def test_a_damaged_number_is_refused_with_words(door: Door, network_of, at: int, number: int, words: str) -> None:
    content = bytearray(native_bytes(network_of(SMALL)))
    struct.pack_into("<I", content, at, number)
    with pytest.raises(ValueError, match=words):
        DoorEngine(door, bytes(content), (64, 64), "plain")


def test_flipped_bits_are_refused_or_run(door: Door, network_of) -> None:
    content, crops = native_bytes(network_of(SMALL)), crops_of(1, (32, 32))
    table = HEADER.size + 24 * content[60]
    rng = np.random.default_rng(0)
    for place in [*rng.integers(0, table, 300), *rng.integers(table, len(content), 20)]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        try:
            engine = DoorEngine(door, bytes(damaged), (32, 32), "plain")
        except ValueError:
            continue
        engine.run(crops)
        engine.close()


def test_instructions_that_are_not_there_are_refused(door: Door, network_of) -> None:
    with pytest.raises(ValueError, match="LEHRNET_INSTRUCTIONS is 'sse9', expected one of .*plain"):
        DoorEngine(door, native_bytes(network_of(SMALL)), (64, 64), "sse9")


@pytest.fixture
def packed_bundle(tiny_checkpoint, tmp_path: Path) -> Bundle:
    """A bundle with nothing but the packed network."""
    write_native(tiny_checkpoint.network, tmp_path / "native_fp32.lehrnet")
    artefact = Artefact.of(tmp_path / "native_fp32.lehrnet", precision=NATIVE)
    bundle = Bundle(tmp_path, "custom", tiny_checkpoint.spec, False, "a tiny network", {NATIVE: artefact})
    write_manifest(bundle)
    return bundle


def test_a_bundle_opens_without_onnx_runtime(
    built: Path, door: Door, packed_bundle: Bundle, tiny_checkpoint, monkeypatch
) -> None:
    crops, library, nowhere = crops_of(5, packed_bundle.spec.input_size), built / "liblehrnet.so", Path("none.so")
    wanted = defined(tiny_checkpoint.network, crops)
    for threads, max_batch in ((1, 2), (2, 1), (2, 8)):
        session = LibrarySession(
            library, packed_bundle.root, nowhere, precision=NATIVE, threads=threads, max_batch=max_batch
        )
        assert_alike(session.run_network(crops), wanted)
        session.close()
    monkeypatch.setenv("LEHRNET_INSTRUCTIONS", "neon512")
    with pytest.raises(ValueError, match="LEHRNET_INSTRUCTIONS is 'neon512'"):
        LibrarySession(library, packed_bundle.root, nowhere, precision=NATIVE)


def test_a_session_from_before_a_fork_is_refused(built: Path, packed_bundle: Bundle) -> None:
    crops = crops_of(1, packed_bundle.spec.input_size)
    session = LibrarySession(
        built / "liblehrnet.so", packed_bundle.root, Path("none.so"), precision=NATIVE, threads=2, max_batch=1
    )
    child = os.fork()
    if child == 0:
        try:
            session.run_network(crops)
        except ValueError as error:
            session.close()
            os._exit(0 if "before the process forked" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    session.run_network(crops)


@pytest.fixture
def library(built: Path, monkeypatch) -> Path:
    monkeypatch.setenv(ENVIRONMENT, str(built / "liblehrnet.so"))
    return built / "liblehrnet.so"


@pytest.fixture
def exported(library: Path, tiny_checkpoint, tmp_path: Path) -> Bundle:
    return export_bundle(tiny_checkpoint, tmp_path / "bundle", precisions=[NATIVE])


class TestWithTheLibrary:
    def test_it_is_verified_like_every_rung_and_gives_the_same_keypoints(self, exported: Bundle, image, capsys) -> None:
        assert exported.artefacts[NATIVE].form == "native"
        assert exported.artefacts[NATIVE].measured["parity"]["passed"]
        boxes = [[10, 10, 60, 90], [40, 5, 150, 110], [-20, -20, 30, 300]]
        points = []
        for artefact in ("fp32", NATIVE):
            with PoseEstimator.open(exported.root, artefact, threads=1) as estimator:
                points.append(estimator(image, boxes))
        np.testing.assert_allclose(points[1].xy, points[0].xy, atol=0.01)
        np.testing.assert_allclose(points[1].score, points[0].score, atol=1e-4)
        assert main(["verify", str(exported.root)]) == 0
        assert NATIVE in capsys.readouterr().out

    def test_crop_and_decode_are_the_library_s_and_equal_python_s(self, exported: Bundle, image) -> None:
        boxes = [[10, 10, 60, 90], [40, 5, 150, 110], [-20, -20, 30, 300]]
        mirrored = image[:, ::-1]  # rows of pixels from right to left
        upside_down, part = image[::-1], image[3:, 5:]
        items = [(image, boxes), (mirrored, boxes[:2]), (upside_down, []), (upside_down, boxes), (part, None)]
        with PoseEstimator.open(exported.root, NATIVE, "cpu", threads=2) as estimator:
            assert isinstance(estimator.pipeline, NativePipeline)
            by_python = PoseEstimator(estimator.session, estimator.spec)
            found, wanted = estimator.run_many(items), by_python.run_many(items)
            for each, other, (picture, given) in zip(found, wanted, items, strict=True):
                np.testing.assert_allclose(each.xy, other.xy, atol=0.01)
                np.testing.assert_allclose(each.score, other.score, atol=1e-5)
                np.testing.assert_array_equal(each.xy, estimator(picture, given).xy)
            with pytest.raises(ValueError, match="the frame is on a GPU, but native crops on the CPU here"):
                estimator(SimpleNamespace(__cuda_array_interface__={}, shape=(4, 4, 3)), boxes)  # pyright: ignore[reportArgumentType]
            other = replace(estimator.spec, decode="dark")
            assert PoseEstimator.of(estimator.session, other).pipeline is None
            assert PoseEstimator.of(estimator.session, estimator.spec, flip=True).pipeline is None

    def test_c_takes_it_where_no_precision_is_named(self, exported: Bundle, library: Path) -> None:
        with closing(LibrarySession(library, exported.root, precision="auto")) as session:
            found = session.run_network(crops_of(2, (64, 64)))
        with closing(LibrarySession(library, exported.root, precision=NATIVE)) as session:
            np.testing.assert_array_equal(found, session.run_network(crops_of(2, (64, 64))))
        write_manifest(replace(exported, artefacts={"fp32": exported.artefacts["fp32"]}))
        with pytest.raises(ValueError, match=r"fp32\.onnx is an ONNX graph, and this library was built without"):
            LibrarySession(library, exported.root, precision="auto")

    def test_a_changed_file_is_refused_by_its_hash(self, exported: Bundle) -> None:
        path = exported.path(NATIVE)
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(bytes(content))
        with pytest.raises(ValueError, match="SHA-256"):
            open_artefact(exported, NATIVE)

    def test_its_steps_and_their_share_of_the_processor_are_told(self, exported: Bundle, capsys) -> None:
        with closing(open_artefact(exported, NATIVE, "cpu", 1)) as session:
            assert isinstance(session, NativeSession)
            steps, peak = session.profile(2)
        assert sum(step.multiply_adds for step in steps) == pytest.approx(
            network_cost(NetworkConfig(width=8, units=1, modules=(1, 1, 1)), (64, 64)).macs, rel=0.1
        )
        assert all(step.milliseconds > 0 for step in steps)
        assert peak > 1e8
        assert main(["bench", str(exported.root), "--batch", "1", "--rounds", "1", "--streams", "1"]) == 0
        assert "of the peak" in capsys.readouterr().out

    def test_a_closed_session_and_another_device_are_refused(self, exported: Bundle) -> None:
        session = open_artefact(exported, NATIVE, "cpu")
        session.close()
        session.close()
        with pytest.raises(ValueError, match="the session is closed"):
            session.run(np.zeros((1, 3, 64, 64), np.float32))
        with pytest.raises(ValueError, match="runs on the CPU only, but device is 'cuda'"):
            open_artefact(exported, NATIVE, "cuda")

    def test_without_the_library_it_says_how_to_get_it_and_may_fall_back(
        self, exported: Bundle, monkeypatch, capsys
    ) -> None:
        monkeypatch.delenv(ENVIRONMENT)
        monkeypatch.setattr("lehrnet.runtime.backends.native.find_library", lambda: None)
        with pytest.raises(RuntimeError, match="reinstall lehrnet where CMake and a C\\+\\+ compiler are"):
            open_artefact(exported, NATIVE, "cpu")
        assert open_artefact(exported, NATIVE, "cpu", fallback="fp32").backend == "onnxruntime"
        monkeypatch.setattr("lehrnet.runtime.backends.library_path.find_library", lambda: None)
        main(["doctor", str(exported.root)])
        assert "missing bundle: native_fp32" in capsys.readouterr().out

    def test_it_is_what_a_bundle_holds_and_what_runs_where_nobody_says_otherwise(
        self, library: Path, tiny_checkpoint, tmp_path: Path, monkeypatch, caplog
    ) -> None:
        bundle = export_bundle(tiny_checkpoint, tmp_path / "bundle")
        assert list(bundle.artefacts) == ["weights", "fp32", NATIVE]
        with PoseEstimator.open(bundle.root, device="cpu") as estimator:
            assert estimator.session.backend == "native"
        monkeypatch.delenv(ENVIRONMENT)
        monkeypatch.setattr("lehrnet.runtime.backends.library_path.find_library", lambda: None)
        with caplog.at_level("INFO"), PoseEstimator.open(bundle.root, device="cpu") as estimator:
            assert estimator.session.backend == "onnxruntime"
        assert "fp32 runs; native_fp32 would be faster, but it needs lehrnet's C++ library" in caplog.text
        assert list(export_bundle(tiny_checkpoint, tmp_path / "without").artefacts) == ["weights", "fp32"]

    def test_a_network_of_another_frame_is_cropped_and_decoded_by_it(
        self, library: Path, tiny_checkpoint, image, tmp_path: Path
    ) -> None:
        other = replace(tiny_checkpoint, spec=replace(tiny_checkpoint.spec, frame="hrnet"))
        bundle = export_bundle(other, tmp_path / "bundle")
        points = [PoseEstimator.open(bundle.root, artefact, "cpu")(image).xy for artefact in ("fp32", NATIVE)]
        np.testing.assert_allclose(points[1], points[0], atol=0.01)
        usual = PoseEstimator.open(export_bundle(tiny_checkpoint, tmp_path / "usual").root, NATIVE)(image).xy
        assert np.abs(usual - points[1]).max() > 0.1


def test_without_the_library_it_is_not_written(tiny_checkpoint, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("lehrnet.runtime.backends.library_path.find_library", lambda: None)
    with pytest.raises(ValueError, match="native_fp32 cannot be verified here: it needs lehrnet's C\\+\\+ library"):
        export_bundle(tiny_checkpoint, tmp_path / "bundle", precisions=[NATIVE])
    assert list(tmp_path.iterdir()) == []

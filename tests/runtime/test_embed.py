"""The C and C++ library: built, tested by its own tests, with sanitizers, installed, and held against Python."""

import json
import shutil
import subprocess
import sys
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from lehrnet.benchmarks.embedded import wheels_library
from lehrnet.pose.coco import read_coco
from lehrnet.pose.crop import crop_people
from lehrnet.pose.heatmap import DECODE_METHODS
from lehrnet.pose.pictures import read_image
from lehrnet.pose.spec import PoseSpec
from lehrnet.runtime import PoseEstimator
from lehrnet.runtime.backends.library import LibrarySession
from lehrnet.tests.runtime.embed_builds import EMBED, MARKS, build, fetch_headers, run

pytestmark = MARKS
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def headers() -> Path:
    return fetch_headers()


@pytest.fixture(scope="module")
def installed(headers: Path, tmp_path_factory) -> Path:
    prefix = tmp_path_factory.mktemp("prefix")
    for preset in ("dev", "static"):
        run("cmake", "--install", build(preset, headers), "--prefix", prefix / preset)
    return prefix


@pytest.mark.parametrize("preset", ["dev", "sanitize", "thread"])
def test_its_own_tests_pass(headers: Path, preset: str) -> None:
    assert "100% tests passed" in run("ctest", "--test-dir", build(preset, headers), "--output-on-failure")


def test_golden_files_are_what_python_defines(tmp_path: Path) -> None:
    for script in ("write_golden.py", "write_golden_tracks.py"):
        run(sys.executable, EMBED / "tests" / script, tmp_path)
    golden = EMBED / "tests" / "golden"
    for path in golden.glob("*.f32"):
        committed, now = np.fromfile(path, np.float32), np.fromfile(tmp_path / path.name, np.float32)
        np.testing.assert_allclose(now, committed, atol=1e-4, err_msg=path.name)
    for name in (*DECODE_METHODS, "hrnet", "udp_frame"):
        manifests = [json.loads((folder / name / "bundle.json").read_text()) for folder in (golden, tmp_path)]
        assert manifests[0] == manifests[1]


@pytest.mark.parametrize("kind", ["dev", "static"])
def test_an_installed_copy_serves_a_c_program(installed: Path, kind: str, tiny_bundle: Path, tmp_path: Path) -> None:
    run("cmake", "-S", EMBED / "examples", "-B", tmp_path, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={installed / kind}",
        "-DCMAKE_C_FLAGS=-pedantic -Wall -Wextra -Werror", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror")  # fmt: skip
    run("cmake", "--build", tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    image = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2), np.uint8)
    cv2.imwrite(str(tmp_path / "picture.ppm"), image)
    program, runtime = tmp_path / "pose_image", str(wheels_library())
    found = json.loads(run(program, tiny_bundle, tmp_path / "picture.ppm", LEHRNET_ONNXRUNTIME=runtime))
    wanted = PoseEstimator.open(tiny_bundle, device="cpu")(image)
    points = np.array([[joint[:3] for joint in person.values()] for person in found])
    sure = np.array([[joint[3] for joint in person.values()] for person in found])
    np.testing.assert_allclose(points[..., :2], wanted.xy, atol=0.01)
    np.testing.assert_allclose(points[..., 2], wanted.score, atol=1e-3)
    assert (sure == (points[..., 2] >= PoseSpec.min_score)).all()
    done = subprocess.run([program, tmp_path, tmp_path / "picture.ppm"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "NOT_FOUND: no bundle at" in done.stderr


def test_pkg_config_and_a_plain_compiler_are_enough(installed: Path, tmp_path: Path) -> None:
    if shutil.which("pkg-config") is None:
        pytest.skip("no pkg-config on this machine")
    (tmp_path / "main.cpp").write_text(
        '#include <lehrnet.hpp>\nint main() { try { lehrnet::Session session("none"); } '
        "catch (const lehrnet::Error& e) { return e.status == LEHRNET_NOT_FOUND ? 0 : 1; } return 1; }\n"
    )
    paths = str(next((installed / "static").rglob("pkgconfig")))
    flags = run("pkg-config", "--static", "--cflags", "--libs", "lehrnet", PKG_CONFIG_PATH=paths).split()
    warnings = ("-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
    run("g++", *warnings, tmp_path / "main.cpp", "-o", tmp_path / "main", *flags)
    run(tmp_path / "main")


def test_only_the_interface_is_exported(installed: Path) -> None:
    names = run("nm", "-D", "--defined-only", next(installed.rglob("liblehrnet.so"))).splitlines()
    functions = {name.split()[-1] for name in names}
    assert len(functions) == 18
    assert all(name.startswith("lehrnet_") for name in functions)


def session_of(installed: Path, bundle: Path) -> LibrarySession:
    return LibrarySession(next(installed.rglob("liblehrnet.so")), bundle, wheels_library())


def test_an_onnx_file_that_is_none_is_refused(installed: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    import hashlib

    shutil.copytree(tiny_bundle, tmp_path / "broken")
    manifest = tmp_path / "broken" / "bundle.json"
    content = json.loads(manifest.read_text())
    fp32 = content["artefacts"]["fp32"]
    (tmp_path / "broken" / fp32["file"]).write_bytes(b"no network")
    fp32.update(bytes=10, sha256=hashlib.sha256(b"no network").hexdigest())
    manifest.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="is not run: it is no ONNX file"):
        session_of(installed, tmp_path / "broken")
    with pytest.raises(ValueError, match="was not found"):
        LibrarySession(next(installed.rglob("liblehrnet.so")), tiny_bundle, tmp_path / "libnone.so")


def test_photographs_give_what_python_finds(installed: Path, pose_samples: Path, tmp_path_factory) -> None:
    pytest.importorskip("onnxsim")
    from lehrnet.export import export_bundle
    from lehrnet.model.checkpoint import DEFAULT_WEIGHTS, load_checkpoint

    bundle = export_bundle(load_checkpoint(DEFAULT_WEIGHTS), tmp_path_factory.mktemp("shipped") / "bundle").root
    estimator, session = PoseEstimator.open(bundle, device="cpu"), session_of(installed, bundle)
    spec, apart, ties, joints = estimator.spec, 0.0, 0, 0
    people = read_coco(pose_samples)
    for path, rows in islice(people.by_image(), 0, None, 3):
        image, narrow = read_image(path), people.boxes[rows].astype(np.float32)
        crops, _ = crop_people(image, narrow.astype(np.float64), spec)
        assert np.abs(session.crop(image, narrow) - crops).max() < 1 / 255 / min(spec.std)
        found, wanted = session(image, narrow), estimator(image, narrow)
        difference = np.abs(found[..., :2] - wanted.xy).max(2)
        heatmaps = estimator.session.run(crops)
        highest = np.sort(heatmaps.reshape(len(rows), found.shape[1], -1), axis=2)
        near = highest[..., -1] - highest[..., -2] < 1e-4
        ties, joints = ties + int((near & (difference > 0.01)).sum()), joints + near.size
        apart = max(apart, float(difference[~near].max(initial=0)))
        np.testing.assert_allclose(session.decode(heatmaps, narrow)[..., :2], wanted.xy, atol=0.01)
    assert joints > 1000
    assert apart <= 0.01
    assert ties <= joints / 1000

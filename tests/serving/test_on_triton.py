"""On the real server: Triton 2.51, as the wheel nvidia-pytriton has it."""

import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lehrnet.benchmarks.triton_server import ROOT, Triton, ask, triton
from lehrnet.cli import main
from lehrnet.pose.pictures import read_image
from lehrnet.runtime import PoseEstimator
from lehrnet.serving.triton import write_repository
from lehrnet.serving.triton_config import Serving
from lehrnet.tests.serving.triton_server import environment_of_triton

pytestmark = pytest.mark.slow
TOLERANCE_PX = 0.01
Pair = tuple[Any, Any]
PARSE = """
import sys
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig
for path in sys.argv[1:]:
    print(text_format.Parse(open(path).read(), ModelConfig()).name)
"""


@pytest.fixture(scope="module")
def server(native_bundle: Path, tmp_path_factory):
    environment_of_triton()
    folder = tmp_path_factory.mktemp("server")
    write_repository(native_bundle, folder / "repository", Serving(log_json=True, deadline_ms=60_000, queue=256))
    with triton(folder / "repository", folder / "log", "--model-control-mode=explicit", "--load-model=pose") as running:
        yield running


@pytest.fixture(scope="module")
def estimator(native_bundle: Path):
    with PoseEstimator.open(native_bundle, device="cpu") as opened:
        yield opened


def keypoints(estimator: PoseEstimator, pair: Pair) -> Any:
    poses = estimator(pair[0], np.asarray(pair[1], np.float32).reshape(-1, 4))
    return np.concatenate((poses.xy, poses.score[..., None]), 2)


def mixed(count: int) -> list[Pair]:
    """Frames of all sizes with 0 to 5 people each."""
    rng = np.random.default_rng(0)
    pairs: list[Pair] = []
    for index in range(count):
        height, width = rng.integers(40, 400, 2)
        corner = rng.uniform(0, 30, (index % 6, 2))
        boxes = np.concatenate((corner, corner + rng.uniform(20, 200, (index % 6, 2))), 1).astype(np.float32)
        pairs.append((rng.integers(0, 256, (height, width, 3), dtype=np.uint8), boxes))
    return pairs


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_ten_pictures_have_the_keypoints_of_the_local_estimator(
    server: Triton, estimator: PoseEstimator, pictures: list[Path], tmp_path: Path, protocol: str
) -> None:
    images = [read_image(path) for path in pictures]
    pairs = [(image, [[10, 10, image.shape[1] - 5, image.shape[0] - 5], [0, 0, 50, 80]]) for image in images]
    found = ask(server, pairs, tmp_path, protocol=protocol)
    for index, pair in enumerate(pairs):
        wanted = keypoints(estimator, pair)
        np.testing.assert_allclose(found[f"keypoints_{index}"][0], wanted, atol=TOLERANCE_PX)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_client_of_the_documentation_runs_as_it_stands(
    server: Triton, estimator: PoseEstimator, pictures: list[Path], tmp_path: Path, protocol: str
) -> None:
    (code,) = re.findall(r"```python\n(.*?tritonclient.*?)```", (ROOT / "docs/serving.md").read_text(), re.DOTALL)
    port = server.http if protocol == "http" else server.grpc
    for written, here in {
        "photo.jpg": str(pictures[0]),
        "127.0.0.1:8000": f"127.0.0.1:{port}",
        "tritonclient.http as": f"tritonclient.{protocol} as",
    }.items():
        code = code.replace(written, here)
    command = [str(environment_of_triton() / "bin/python"), "-c", f"{code}\nnp.save('found.npy', keypoints)"]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=60)
    wanted = keypoints(estimator, (read_image(pictures[0]), [[30, 5, 470, 512]]))
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), wanted, atol=TOLERANCE_PX)


def test_200_requests_of_8_threads_share_batches_and_are_not_mixed_up(
    server: Triton, estimator: PoseEstimator, tmp_path: Path
) -> None:
    pairs, before = mixed(200), server.metric("nv_inference_exec_count")
    found = ask(server, pairs, tmp_path, threads=8)
    executions = server.metric("nv_inference_exec_count") - before
    for index, pair in enumerate(pairs):
        np.testing.assert_allclose(found[f"keypoints_{index}"][0], keypoints(estimator, pair), atol=TOLERANCE_PX)
    assert executions < 150
    assert server.metric("nv_inference_request_success") >= 200
    assert any('"refused": 0' in line and '"requests": 1,' not in line for line in server.said().splitlines())


def test_bad_requests_are_answered_in_words_and_the_model_lives(
    server: Triton, estimator: PoseEstimator, image, tmp_path: Path
) -> None:
    good = (image, [[5, 5, 50, 90]])
    bad = {
        "box 0 is [5.0, 5.0, 5.0, 5.0], expected finite x1 < x2": (image, [[5, 5, 5, 5]]),
        "box 1 is [nan": (image, [[0, 0, 9, 9], [np.nan, 0, 9, 9]]),
        "65 boxes, but this model answers at most 64": (image, np.tile([0, 0, 9, 9], (65, 1))),
        "not empty": (np.zeros((0, 9, 3), np.uint8), [[0, 0, 9, 9]]),
        "unexpected shape": (np.zeros((9, 9, 4), np.uint8), [[0, 0, 9, 9]]),
    }
    pairs: list[Pair] = [good, *bad.values(), good]
    found = ask(server, pairs, tmp_path, protocol="http")
    for index, words in enumerate(bad, 1):
        assert words in str(found[f"said_{index}"]), found[f"said_{index}"]
    for index in (0, len(pairs) - 1):
        np.testing.assert_allclose(found[f"keypoints_{index}"][0], keypoints(estimator, good), atol=TOLERANCE_PX)


def stubs_of(server: Triton) -> list[int]:
    """Processes of the server's Python models."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parent = re.search(r"^PPid:\s+(\d+)", (folder / "status").read_text(), re.MULTILINE)
                name = (folder / "cmdline").read_text()
            except OSError:
                continue
            if parent and int(parent[1]) == server.process.pid and "triton_python_backend_stub" in name:
                found.append(int(folder.name))
    return found


def test_a_model_s_process_that_is_killed_is_noticed_and_started_again(
    server: Triton, estimator: PoseEstimator, image, tmp_path: Path, capsys
) -> None:
    doctor = ["doctor", "--triton", f"http://127.0.0.1:{server.http}"]
    assert main(doctor) == 0
    good = (image, [[5, 5, 50, 90]])
    (killed,) = stubs_of(server)
    os.kill(killed, signal.SIGKILL)
    assert "is not healthy" in str(ask(server, [good], tmp_path)["said_0"])
    assert main(doctor) == 1
    assert "is not healthy" in capsys.readouterr().out
    assert main([*doctor, "--load-again"]) == 0
    found = ask(server, [good], tmp_path)
    np.testing.assert_allclose(found["keypoints_0"][0], keypoints(estimator, good), atol=TOLERANCE_PX)
    assert stubs_of(server) not in ([], [killed])
    assert main(doctor) == 0


def test_a_new_version_under_load_fails_no_request(server: Triton, another_bundle: Path, tmp_path: Path) -> None:
    found: dict[str, Any] = {}
    load = threading.Thread(target=lambda: found.update(ask(server, mixed(12), tmp_path, threads=4, seconds=12)))
    load.start()
    time.sleep(4)
    assert write_repository(another_bundle, server.repository, Serving(deadline_ms=60_000, queue=256)).version == 2
    url = f"http://127.0.0.1:{server.http}/v2/repository/models/pose/load"
    urllib.request.urlopen(urllib.request.Request(url, b"{}", method="POST"), timeout=60).read()
    load.join()
    versions = [int(found[name]) for name in found if name.startswith("version_")]
    assert {*versions} == {1, 2}
    assert not [str(found[name]) for name in found if name.startswith("said_")]


def test_late_frames_are_rejected_and_not_queued(native_bundle: Path, tmp_path: Path) -> None:
    environment_of_triton()
    write_repository(native_bundle, tmp_path / "repository", Serving(max_batch=1, queue=4, deadline_ms=30, delay_ms=0))
    pairs = [(frame, np.tile([0, 0, 40, 40], (20, 1))) for frame, _ in mixed(40)]
    with triton(tmp_path / "repository", tmp_path / "log") as server:
        found = ask(server, pairs, tmp_path, threads=8)
    said = [str(found[name]) for name in found if name.startswith("said_")]
    assert said
    assert all("queue" in each or "timeout" in each for each in said), {*said}
    assert [name for name in found if name.startswith("keypoints_")]


def ended(repository: Path, log: Path, *options: str) -> str:
    """What a server said that could not start."""
    with triton(repository, log, *options, wait=False) as server:
        assert server.process.wait(60) != 0
        return server.said()


def test_a_bundle_that_was_changed_is_not_loaded_and_the_file_is_named(native_bundle: Path, tmp_path: Path) -> None:
    environment_of_triton()
    write_repository(native_bundle, tmp_path / "repository", Serving())
    bundle = tmp_path / "repository/pose/1/bundle"
    content = bytearray((bundle / "native_fp32.lehrnet").read_bytes())
    content[-1] ^= 1
    (bundle / "native_fp32.lehrnet").write_bytes(content)
    assert "native_fp32.lehrnet has SHA-256" in ended(tmp_path / "repository", tmp_path / "log")
    manifest = (bundle / "bundle.json").read_text()
    (bundle / "bundle.json").write_text(manifest.replace("for tests", "for rests"))
    assert "the bundle was changed after it was written" in ended(tmp_path / "repository", tmp_path / "log")


def test_a_port_in_use_is_said(native_bundle: Path, tmp_path: Path) -> None:
    environment_of_triton()
    write_repository(native_bundle, tmp_path / "repository", Serving())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = ended(tmp_path / "repository", tmp_path / "log", f"--http-port={port}")
    assert "Address already in use" in said or "Socket" in said, said[-500:]


def test_every_configuration_is_one_of_triton_s_own_protocol(native_bundle: Path, bundle: Path, tmp_path: Path) -> None:
    folder, out = environment_of_triton(), tmp_path / "repository"
    write_repository(native_bundle, out, Serving(threads=2, log_json=True))
    for artefact in ("whole_fp32", "points_fp32", "fp32"):
        write_repository(bundle, out, Serving(artefact, "onnxruntime", artefact, threads=2))
    engine = Serving("engine", "tensorrt", "fp32_tensorrt", "cuda")
    write_repository(bundle, out, engine, trust_engine=True)
    configs = sorted(out.glob("*/config.pbtxt"))
    assert len(configs) == 5
    command = [str(folder / "bin/python"), "-c", PARSE, *map(str, configs)]
    parsed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert parsed == [path.parent.name for path in configs]

"""A real Triton server for tests and measurements: the binary of the wheel nvidia-pytriton, in its own environment.

`make triton` makes that environment. It serves on loopback only.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
VARIABLE, FOLDER = "LEHRNET_TRITON", ROOT / "build" / "triton"
CLIENT = Path(__file__).with_name("triton_client.py")
READY_S = 120


@dataclass
class Triton:
    """A running server."""

    process: subprocess.Popen[bytes]
    repository: Path
    http: int
    grpc: int
    metrics: int
    log: Path

    def said(self) -> str:
        """What it logged."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def metric(self, name: str) -> float:
        """Sum of a counter over versions."""
        url = f"http://127.0.0.1:{self.metrics}/metrics"
        text = urllib.request.urlopen(url, timeout=10).read().decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name}{{"))


def environment_of_triton() -> Path:
    """The folder of the environment that `make triton` makes; FileNotFoundError where there is none."""
    folder = Path(os.environ.get(VARIABLE, FOLDER))
    if not (folder / "bin" / "python").exists():
        raise FileNotFoundError(f"no Triton: `make triton` makes {FOLDER}, or ${VARIABLE} names such an environment")
    return folder


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def command_of(folder: Path, repository: Path, ports: list[int], *options: str) -> tuple[list[str], dict[str, str]]:
    """The server's command and environment; every address is loopback."""
    (site,) = folder.glob("lib/python3.*/site-packages")
    home = site / "pytriton" / "tritonserver"
    python = site.parent.name.removeprefix("python")
    stub = home / "backends" / "python" / "triton_python_backend_stub"
    if not stub.exists():
        shutil.copy(home / "python_backend_stubs" / python / stub.name, stub)
    (site / "lehrnet-checkout.pth").write_text(f"{package_link()}\n")  # the stub's Python reads no PYTHONPATH
    names = ("http", "grpc", "metrics")
    command = [
        *("nice", "-n", "10", str(home / "bin" / "tritonserver")),
        *(f"--model-repository={repository}", f"--backend-directory={home / 'backends'}"),
        *(f"--{name}-address=127.0.0.1" for name in names),
        *(f"--{name}-port={port}" for name, port in zip(names, ports, strict=True)),
        *options,
    ]
    environment = {
        "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
        "LD_LIBRARY_PATH": str(site / "nvidia_pytriton.libs"),
        **({"OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"]} if "OMP_NUM_THREADS" in os.environ else {}),
    }
    return command, environment


def package_link() -> Path:
    """A folder in which the checkout is called `lehrnet`, so that it can be imported from there."""
    folder = ROOT / "build" / "import"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "lehrnet").exists():
        (folder / "lehrnet").symlink_to(ROOT, target_is_directory=True)
    return folder


@contextmanager
def triton(repository: Path, log: Path, *options: str, wait: bool = True) -> Iterator[Triton]:
    """A server of a repository, ready for requests; its output is in `log`."""
    ports = free_ports(3)
    command, environment = command_of(environment_of_triton(), repository, ports, *options)
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)  # noqa: S603
    server = Triton(process, repository, ports[0], ports[1], ports[2], log)
    try:
        if wait:
            wait_until_ready(server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until_ready(server: Triton) -> None:
    """Return once the server answers; RuntimeError with its words if it ends or takes too long."""
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise RuntimeError(f"the server ended with {server.process.returncode}: {server.said()[-3000:]}")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{server.http}/v2/health/ready", timeout=5)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the server is not ready after {READY_S} s: {server.said()[-3000:]}")


def ask(
    server: Triton,
    pairs: Sequence[tuple[Any, Any]],
    folder: Path,
    *,
    protocol: str = "grpc",
    threads: int = 1,
    seconds: float = 0,
) -> dict[str, Any]:
    """Answers to (frame, boxes) pairs by `keypoints_N`, `said_N`, `version_N` and `ms_N`, of a client in `threads`.

    With `seconds` the pairs go round for that long. Files are exchanged in `folder`.
    """
    arrays = {f"frame_{index}": frame for index, (frame, _) in enumerate(pairs)}
    arrays |= {f"boxes_{index}": np.asarray(boxes, np.float32).reshape(-1, 4) for index, (_, boxes) in enumerate(pairs)}
    np.savez(folder / "requests.npz", **arrays)
    port = server.grpc if protocol == "grpc" else server.http
    command = [
        *(environment_of_triton() / "bin" / "python", CLIENT, protocol, port, threads),
        *(folder / "requests.npz", folder / "answers.npz", seconds),
    ]
    subprocess.run([str(each) for each in command], check=True, timeout=300)  # noqa: S603
    with np.load(folder / "answers.npz") as found:
        return {name: found[name] for name in found.files}

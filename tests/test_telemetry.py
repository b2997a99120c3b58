"""Nothing phones home: in a network of its own, a name server and a way out write down who is asked for.

The way out leads back: every address of the world is this machine's own there, refuses what is sent, and is told.
"""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lehrnet.benchmarks.triton_server import VARIABLE
from lehrnet.tests.serving.triton_server import environment_of_triton

WATCHED_S = 20
WATCHER = textwrap.dedent(
    """
    import ipaddress, socket, subprocess, sys, threading
    folder, seconds, *command = sys.argv[1:]
    own = ipaddress.ip_address("192.0.2.1")
    for words in ("link set lo up", f"addr add {own}/32 dev lo", f"route add local default dev lo src {own}"):
        subprocess.run(["ip", *words.split()], check=True)
    subprocess.run("ip -6 route add local default dev lo".split(), check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["mount", "--bind", folder + "/resolv.conf", "/etc/resolv.conf"], check=True)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    def listen():
        while True:
            question, _ = server.recvfrom(4096)
            print("asked", question[12:60], flush=True)
    leaving = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    leaving.bind(("lo", 0))
    def watch():
        known = {own}
        while True:
            packet = leaving.recv(4096)
            if packet[12:14] == bytes((8, 0)):
                told = ipaddress.ip_address(packet[30:34])
            elif packet[12:14] == bytes((0x86, 0xDD)) and packet[38] != 0xFF:  # the kernel's own multicast
                told = ipaddress.ip_address(packet[38:54])
            else:
                continue
            if not (told.is_loopback or told in known):
                known.add(told)
                print("asked", told, flush=True)
    threading.Thread(target=listen, daemon=True).start()
    threading.Thread(target=watch, daemon=True).start()
    subprocess.run(command, check=True, timeout=float(seconds) + 240)
    """
)
WAIT = f"import time; time.sleep({WATCHED_S})"


@pytest.fixture
def asked(tmp_path: Path):
    """The names that a command asked for, and the files that it left in its home."""
    if sys.platform != "linux" or shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("a network of its own takes Linux with unshare and ip")
    if subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("a network of its own takes rights that this user has not")
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: os.environ[name] for name in ("PYTHONPATH", VARIABLE) if name in os.environ}

    def run(*command: str) -> tuple[list[str], list[str]]:
        watcher = ["unshare", "--net", "--mount", sys.executable, "-c", WATCHER, str(tmp_path), str(WATCHED_S)]
        found = subprocess.run(
            [*watcher, *command],
            capture_output=True,
            text=True,
            check=False,
            env={"HOME": str(home), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "OMP_NUM_THREADS": "1", **kept},
        )
        assert found.returncode == 0, found.stderr
        names = [line for line in found.stdout.splitlines() if line.startswith("asked")]
        return names, [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]

    return run


@pytest.mark.slow
def test_the_watcher_hears_a_question(asked) -> None:
    names, _ = asked(
        sys.executable, "-c", "import socket\ntry: socket.gethostbyname('lehrnet.test')\nexcept OSError: 0"
    )
    assert names
    assert "lehrnet" in names[0]


@pytest.mark.slow
def test_the_watcher_sees_a_packet_that_leaves(asked) -> None:
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'home', ('198.51.100.7', 9))"
    assert asked(sys.executable, "-c", f"{code}; import time; time.sleep(1)") == (["asked 198.51.100.7"], [])


@pytest.mark.slow
def test_predicting_asks_for_no_name_and_leaves_nothing_at_home(
    asked, tiny_bundle: Path, data_folder: Path, tmp_path: Path
) -> None:
    code = f"""
from lehrnet.cli import main
assert main(["predict", {str(tiny_bundle)!r}, {str(data_folder / "images")!r}, "--device", "cpu"]) == 0
{WAIT}
"""
    assert asked(sys.executable, "-c", code) == ([], [])


@pytest.mark.slow
def test_measuring_and_archives_ask_for_no_name(asked, tiny_bundle: Path, data_folder: Path, tmp_path: Path) -> None:
    code = f"""
from lehrnet.cli import main
if __name__ == "__main__":
    bundle, folder = {str(tiny_bundle)!r}, {str(data_folder / "images")!r}
    assert main(["bench", bundle, "--batch", "1", "--rounds", "2", "--device", "cpu"]) == 0
    assert main(["batch", folder, "--bundle", bundle, "--out", {str(tmp_path / "out")!r}, "--workers", "2"]) == 0
    {WAIT}
"""
    (tmp_path / "job.py").write_text(code)
    assert asked(sys.executable, str(tmp_path / "job.py")) == ([], [])


@pytest.mark.slow
def test_ray_asks_for_no_name(asked, tiny_bundle: Path, data_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'lehrnet[ray]'")
    arguments = ("batch", data_folder / "images", "--bundle", tiny_bundle, "--out", tmp_path / "out", "--engine", "ray")
    code = f"""
from lehrnet.cli import main
assert main({[str(each) for each in arguments]!r}) == 0
"""
    assert asked(sys.executable, "-c", code)[0] == []


@pytest.mark.slow
def test_serving_asks_for_no_name(asked, native_bundle: Path, tmp_path: Path) -> None:
    environment_of_triton()
    code = f"""
from pathlib import Path
from lehrnet.cli import main
from lehrnet.benchmarks.triton_server import triton
out = Path({str(tmp_path)!r})
assert main(["serve", "triton", {str(native_bundle)!r}, "--out", str(out / "repository")]) == 0
with triton(out / "repository", out / "log") as server:
    assert main(["doctor", "--triton", f"http://127.0.0.1:{{server.http}}"]) == 0
    {WAIT}
"""
    assert asked(sys.executable, "-c", code) == ([], [])


def test_telemetry_is_off_before_onnx_runtime_is_loaded() -> None:
    code = "import lehrnet.runtime.backends.onnxruntime, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"

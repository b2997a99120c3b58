"""Nothing phones home: in a network of its own, a name server writes down who is asked for."""

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

WATCHED_S = 20
WATCHER = textwrap.dedent(
    """
    import socket, subprocess, sys, threading
    folder, seconds, *command = sys.argv[1:]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["mount", "--bind", folder + "/resolv.conf", "/etc/resolv.conf"], check=True)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    def listen():
        while True:
            question, _ = server.recvfrom(4096)
            print("asked", question[12:60], flush=True)
    threading.Thread(target=listen, daemon=True).start()
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

    def run(*command: str) -> tuple[list[str], list[str]]:
        watcher = ["unshare", "--net", "--mount", sys.executable, "-c", WATCHER, str(tmp_path), str(WATCHED_S)]
        found = subprocess.run(
            [*watcher, *command],
            capture_output=True,
            text=True,
            check=False,
            env={"HOME": str(home), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "OMP_NUM_THREADS": "1"},
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
def test_predicting_asks_for_no_name_and_leaves_nothing_at_home(
    asked, tiny_bundle: Path, data_folder: Path, tmp_path: Path
) -> None:
    code = f"""
from lehrnet.cli import main
assert main(["predict", {str(tiny_bundle)!r}, {str(data_folder / "images")!r}, "--device", "cpu"]) == 0
{WAIT}
"""
    assert asked(sys.executable, "-c", code) == ([], [])


def test_telemetry_is_off_before_onnx_runtime_is_loaded() -> None:
    code = "import lehrnet.runtime.backends.onnxruntime, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"

"""What `lehrnet web` serves, and what it refuses."""

import http.client
import shutil
import socket
import threading
from pathlib import Path

import pytest

from lehrnet.cli import main
from lehrnet.web.server import HEADERS, PageServer, open_server

FILES = {"index.html": b"<p>page", "site.json": b"{}", "ort/a.wasm": b"\0asm", "app.js": b"1"}


@pytest.fixture
def server():
    with PageServer(FILES, 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def ask(server: PageServer, path: str, method: str = "GET", host: str | None = None) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, headers={"Host": host or f"127.0.0.1:{server.server_port}"})
    return connection.getresponse()


@pytest.mark.parametrize(
    ("path", "content", "kind"),
    [
        ("/", b"<p>page", "text/html; charset=utf-8"),
        ("/index.html?x=1", b"<p>page", "text/html; charset=utf-8"),
        ("/ort/a.wasm", b"\0asm", "application/wasm"),
        ("/app.js", b"1", "text/javascript; charset=utf-8"),
    ],
)
def test_files_come_with_their_type_and_the_headers_that_isolate_a_page(server, path, content, kind) -> None:
    answer = ask(server, path)
    assert (answer.status, answer.read(), answer.getheader("Content-Type")) == (200, content, kind)
    assert {name: answer.getheader(name) for name in HEADERS} == dict(HEADERS)
    assert ask(server, path, "HEAD").read() == b""


@pytest.mark.parametrize(
    "path",
    [
        *("/../bundle.json", "/ort/../../bundle.json", "/%2e%2e/bundle.json", "/..%2fbundle.json", "//etc/passwd"),
        *("/ort/..\\..\\bundle.json", "/./index.html", "/index.html/", "/ort", "/none", "/%00", "/index.html%00.js"),
        "http://other.example/index.html/x",
    ],
)
def test_no_other_path_is_served(server, path: str) -> None:
    assert ask(server, path).status == 404


def test_a_page_of_another_name_gets_nothing(server) -> None:
    assert ask(server, "/", host="rebound.example:80").status == 403
    assert ask(server, "/", host=f"localhost:{server.server_port}").status == 200


def test_other_methods_are_refused(server) -> None:
    assert ask(server, "/", "POST").status == 501
    assert ask(server, "/", "PUT").status == 501


def test_a_client_that_leaves_does_no_harm(server, capsys) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port)) as gone:
        gone.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert ask(server, "/").status == 200
    assert capsys.readouterr().err == ""


def test_what_is_no_bundle_or_has_no_page_is_refused(tiny_bundle: Path, tmp_path: Path, capsys) -> None:
    for folder, words in (
        (tmp_path / "none", "no bundle at"),
        (tmp_path, "no bundle at"),
        (tiny_bundle, "has no page: `lehrnet export --web` writes one"),
    ):
        assert main(["web", str(folder)]) == 2
        assert words in capsys.readouterr().err


class TestABundleWithItsPage:
    @pytest.fixture
    def copied(self, page_bundle: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(page_bundle, tmp_path / "copied"))

    def test_it_is_served_whole(self, page_bundle: Path) -> None:
        with open_server(page_bundle, 0) as server:
            assert {"/", "/index.html", "/site.json", "/fp16.onnx", "/ort/ort.wasm.min.mjs"} <= server.files.keys()
            assert server.address == f"http://127.0.0.1:{server.server_port}/"

    def test_a_file_that_differs_or_is_missing_is_named(self, copied: Path) -> None:
        (copied / "web" / "app.js").write_text("other")
        with pytest.raises(ValueError, match=r"app\.js has SHA-256"):
            open_server(copied, 0)
        (copied / "web" / "app.js").unlink()
        with pytest.raises(ValueError, match=r"app\.js is missing"):
            open_server(copied, 0)

    def test_a_link_out_of_the_page_is_not_followed(self, copied: Path) -> None:
        (copied / "web" / "app.js").rename(copied / "app.js")
        (copied / "web" / "app.js").symlink_to(copied / "app.js")
        with pytest.raises(ValueError, match="no file"):
            open_server(copied, 0)

    @pytest.mark.parametrize("name", ["../bundle.json", "/etc/passwd", "ort//a.js", "a\\b.js", "c:x.js", "x.sh", ""])
    def test_a_list_that_leads_out_of_the_page_is_refused(self, name: str, copied: Path) -> None:
        site = copied / "web" / "site.json"
        site.write_text(site.read_text().replace('"app.js"', f'"{name}"'.replace("\\", "\\\\")))
        with pytest.raises(ValueError, match="which is no file of a page"):
            open_server(copied, 0)

    def test_a_list_that_cannot_be_read_is_refused(self, copied: Path) -> None:
        (copied / "web" / "site.json").write_text('{"format": "lehrnet-site-9"}')
        with pytest.raises(ValueError, match=r"site\.json cannot be read: format is 'lehrnet-site-9'"):
            open_server(copied, 0)

    def test_a_port_that_is_taken_or_out_of_range_is_said(self, page_bundle: Path) -> None:
        with pytest.raises(ValueError, match="port is 70000, expected 0"):
            open_server(page_bundle, 70000)
        with open_server(page_bundle, 0) as first, pytest.raises(OSError, match="choose another with --port"):
            open_server(page_bundle, first.server_port)

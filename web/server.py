"""The server of `lehrnet web`: a bundle's page on this machine, isolated, so that it may use several threads.

What it serves is a table of contents that were read and hashed before: no address is ever made into a path.
"""

import contextlib
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from .site import KINDS, read_files

LOOPBACK = "127.0.0.1"
NAMES = (LOOPBACK, "localhost")
"""Hosts that a request may name: a page of another name that resolves to this machine gets nothing."""
HEADERS: Mapping[str, str] = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; "
    "img-src 'self' blob:; media-src 'self' blob:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
}
"""The first two isolate the page, which lets it share memory between threads."""


class PageServer(ThreadingHTTPServer):
    """Serves a table of files, by address, on loopback."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, files: Mapping[str, bytes], port: int) -> None:
        self.files = {f"/{name}": content for name, content in files.items()}
        self.files["/"] = self.files["/index.html"]
        self.headers = HEADERS
        super().__init__((LOOPBACK, port), _Handler)

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{LOOPBACK}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "lehrnet", ""
    timeout = 60  # seconds that a silent client keeps a thread
    server: PageServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        name = unquote(urlsplit(self.path).path)
        content = self.server.files.get(name)
        if host not in NAMES:
            self._send(403, b"this server answers to 127.0.0.1 and localhost only\n", ".txt", body=body)
        elif content is None:
            self._send(404, b"the page has no such file\n", ".txt", body=body)
        else:
            self._send(200, content, ".html" if name == "/" else PurePosixPath(name).suffix, body=body)

    def _send(self, status: int, content: bytes, suffix: str, *, body: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Type", KINDS.get(suffix, "text/plain; charset=utf-8"))
        self.send_header("Content-Length", str(len(content)))
        for header, value in self.server.headers.items():
            self.send_header(header, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the browser went on before it had everything
            self.wfile.write(content if body else b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep no log of requests."""


def open_server(bundle: Path, port: int) -> PageServer:
    """A server of a bundle's page, whose files are read and checked first; port 0 is any free one.

    ValueError for what is no bundle with a page and for a port out of range; OSError where the port is taken.

    >>> with open_server(Path("bundle"), 0) as server:
    ...     server.serve_forever()
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"port is {port}, expected 0 (any free one) to 65535")
    files = read_files(bundle)
    try:
        return PageServer(files, port)
    except OSError as error:
        raise OSError(f"cannot serve on port {port}: {error.strerror}; choose another with --port") from error

"""The command for browsers, web, and the options of export and import that write its page."""

import argparse
import contextlib
from pathlib import Path

from .command import Command

PORT = 8765


def add_web(parser: argparse.ArgumentParser) -> None:
    """Add the options that put a page into a bundle."""
    parser.add_argument(
        "--web", action="store_true", help="add a page that runs the bundle in a browser: `lehrnet web`"
    )
    parser.add_argument(
        "--onnxruntime-web",
        type=Path,
        metavar="FOLDER",
        help="the npm package onnxruntime-web for --web; default: node_modules/onnxruntime-web",
    )


def web_runtime(options: argparse.Namespace) -> Path | None:
    """The npm package for --web, None without it; ValueError for its folder without --web."""
    from ..web.site import find_runtime

    if not options.web and options.onnxruntime_web is not None:
        raise ValueError("--onnxruntime-web is for --web, which was not given; add it")
    return find_runtime(options.onnxruntime_web) if options.web else None


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle that was exported with --web")
    parser.add_argument("--port", type=int, default=PORT, help="port on this machine; 0: any free one (%(default)s)")


def _run(options: argparse.Namespace) -> int:
    from ..web.server import open_server

    with open_server(options.bundle, options.port) as server:
        print(f"{options.bundle} is at {server.address} (Ctrl+C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0


COMMANDS = (
    Command("web", "Show a bundle's page in a browser on this machine.", "lehrnet web bundle --port 8765", _add, _run),
)

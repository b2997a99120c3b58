"""The folder `web` of a bundle: one page that runs the bundle's graphs in a browser, from any static server.

It holds the page, ONNX Runtime Web, the graphs, and `site.json`: what the page must know of the network, and the
SHA-256 of every other file. Nothing in it is fetched from elsewhere when it runs.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..files import write_text
from ..parsing import parse, read_json
from ..pose.results import SURE_JOINT
from ..pose.spec import PoseSpec
from ..runtime.bundle import SITE, WEB, Bundle, file_sha256, read_bundle
from ..runtime.draw import LEFT, MIDDLE, RIGHT
from ..runtime.track.matching import GROW, SURE
from ..runtime.track.options import TrackerOptions

FORMAT = "lehrnet-site-1"
LARGEST_SITE = 1 << 20  # bytes
HERE = Path(__file__).parent
PAGE = HERE / "page"
PACKAGE = "onnxruntime-web"
VERSION: str = json.loads((HERE / "package.json").read_text(encoding="utf-8"))["dependencies"][PACKAGE]
"""Of ONNX Runtime Web: the one that `npm ci` installs and that the page was tested with."""
RUNTIME_FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
"""Of its `dist`, copied to `ort`: three for WebAssembly, three for WebGPU. A browser loads one half."""
KINDS: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".onnx": "application/octet-stream",
}
"""Media types by suffix; a site has no other files."""


@dataclass(frozen=True)
class Graph:
    """A graph of the site, from a canvas' pixels to keypoints."""

    file: str
    bytes: int
    measured: Mapping[str, Any]


@dataclass(frozen=True)
class Site:
    """What `site.json` says: to the page, and to the server which files there are."""

    format: Literal["lehrnet-site-1"]
    variant: str
    trained: bool
    note: str
    onnxruntime_web: str
    pose: PoseSpec
    colours: Mapping[str, str]
    """CSS colours of the body's "left", "right" and "middle"."""
    sure_joint: float
    """Joints with a lower score do not count in a person's score."""
    follow: Mapping[str, float]
    """How the tracker makes a person's next box of their keypoints: `sure`, `grow`, and the `lowest` mean score."""
    graphs: Mapping[str, Graph]
    files: Mapping[str, str]
    """SHA-256 by the path within the site, with forward slashes."""


def find_runtime(folder: Path | None = None) -> Path:
    """The folder of the npm package onnxruntime-web: the one named, that of the current folder, or beside this file.

    FileNotFoundError where there is none, ValueError for another version than VERSION.
    """
    install = f"`npm install {PACKAGE}@{VERSION}` puts it into the current folder"
    places = [folder] if folder else [Path("node_modules") / PACKAGE, HERE / "node_modules" / PACKAGE]
    found = next((place for place in places if (place / "package.json").is_file()), None)
    if found is None:
        searched = " nor at ".join(map(str, places))
        raise FileNotFoundError(
            f"the page needs the npm package {PACKAGE} {VERSION}, which is not at {searched}: {install}"
        )
    facts = read_json(found / "package.json", LARGEST_SITE)
    named, version = (facts.get("name"), facts.get("version")) if isinstance(facts, dict) else (None, None)
    if (named, version) != (PACKAGE, VERSION):
        raise ValueError(f"{found} holds {named} {version}, expected {PACKAGE} {VERSION}: {install}")
    missing = [name for name in RUNTIME_FILES if not (found / "dist" / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{found} lacks dist/{missing[0]}: {install}")
    return found


def write_site(bundle: Bundle, graphs: Mapping[str, Path], measured: Mapping[str, Any], runtime: Path) -> Path:
    """Finish the folder `web` of a bundle that is being written, and return it; its `graphs` are in it already.

    Args:
        bundle: the bundle, whose root is the folder that is being written.
        graphs: paths of the graphs by the precision of their weights.
        measured: what was measured on each graph.
        runtime: the npm package, from `find_runtime`.
    """
    root = bundle.root / WEB
    shutil.copytree(PAGE, root, dirs_exist_ok=True)
    (root / "ort").mkdir()
    for name in RUNTIME_FILES:
        shutil.copyfile(runtime / "dist" / name, root / "ort" / name)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    site = Site(
        format=FORMAT,
        variant=bundle.variant,
        trained=bundle.trained,
        note=bundle.note,
        onnxruntime_web=VERSION,
        pose=bundle.spec,
        colours={"left": _css(LEFT), "right": _css(RIGHT), "middle": _css(MIDDLE)},
        sure_joint=SURE_JOINT,
        follow={"sure": SURE, "grow": GROW, "lowest": TrackerOptions.min_score},
        graphs={name: Graph(path.name, path.stat().st_size, measured[name]) for name, path in graphs.items()},
        files={path.relative_to(root).as_posix(): file_sha256(path) for path in files},
    )
    write_text(root / SITE, json.dumps(asdict(site), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return root


def read_site(bundle: Path) -> Site:
    """Read `web/site.json` of a bundle; FileNotFoundError where there is none, ValueError names the key that is wrong.

    >>> read_site(Path("bundle")).onnxruntime_web
    '1.30.0'
    """
    read_bundle(bundle)  # says in its own words what is no bundle
    path = bundle / WEB / SITE
    if not path.is_file():
        raise FileNotFoundError(f"{bundle} has no page: `lehrnet export --web` writes one into {bundle / WEB}")
    try:
        site = parse(Site, read_json(path, LARGEST_SITE))
        for name in site.files:
            _check_name(name)
    except ValueError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ValueError(f"{path} cannot be read: {reason}; export the bundle again") from error
    return site


def read_files(bundle: Path) -> dict[str, bytes]:
    """Contents of all files of a bundle's page by their path within it; ValueError names a file that differs."""
    site, root = read_site(bundle), bundle / WEB
    found = {SITE: (root / SITE).read_bytes()}
    for name, expected in site.files.items():
        path = root / name
        if not path.is_file() or path.is_symlink():
            raise ValueError(f"{path} is missing or no file; copy the bundle again or export it again")
        found[name] = path.read_bytes()
        digest = hashlib.sha256(found[name]).hexdigest()
        if digest != expected:
            raise ValueError(f"{path} has SHA-256 {digest[:12]}..., expected {expected[:12]}...; copy it again")
    if "index.html" not in found:
        raise ValueError(f"{root / SITE} lists no index.html; export the bundle again")
    return found


def _check_name(name: str) -> None:
    parts = name.split("/")
    plain = all(part and part not in (".", "..") and "\\" not in part and ":" not in part for part in parts)
    if not plain or Path(name).suffix not in KINDS:
        raise ValueError(f"files has {name[:70]!r}, which is no file of a page")


def _css(bgr: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*bgr[::-1])

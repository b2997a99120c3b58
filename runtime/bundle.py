"""The bundle: a folder with the manifest `bundle.json` and the artefacts it lists; the unit of deployment.

A bundle is untrusted input (docs/security.md). Its manifest is parsed into typed values first, the bytes of an artefact
that are hashed are the bytes that are run, and files that the manifest does not list are never read.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from ..files import atomic_folder, write_text
from ..parsing import parse, printable, read_json
from ..pose.spec import PoseSpec
from .compatibility import BuiltFor

T = TypeVar("T")
FORMAT = "lehrnet-bundle-1"
MANIFEST = "bundle.json"
LARGEST_MANIFEST = 64 << 20  # bytes
ENGINE, NATIVE = ".engine", ".lehrnet"  # suffixes
ENGINE_FIELDS = ("batches", "built_for", "graph_sha256")
INPUT_NAME, OUTPUT_NAME = "crops", "heatmaps"
WEIGHTS = "weights"
"""Name of the artefact with the PyTorch weights; the others are named by their precision."""
Form = Literal["weights", "graph", "engine", "native"]
"""Kind of file: PyTorch weights, an ONNX graph, a TensorRT engine, or a packed network of our own CPU engine."""
FORMS: Mapping[str, Form] = {".safetensors": "weights", ".onnx": "graph", ENGINE: "engine", NATIVE: "native"}
"""By a file's suffix."""
Output = Literal["heatmaps", "keypoints", "whole"]
"""Output: heatmaps of crops, keypoints of crops in crop px, or keypoints of a frame's boxes in image px."""
Requirement = Literal["lehrnet_library", "lehrnet_plugin", "bf16"]
"""What an artefact needs besides its runtime: the C++ library with our engine, our plugin for TensorRT, or a GPU with
BF16. Graphs with one of the last two run only as engines."""
IN_ENGINES_ONLY: frozenset[Requirement] = frozenset(("lehrnet_plugin", "bf16"))
WEB, SITE = "web", "site.json"
"""Folder of a bundle with its page for browsers (`lehrnet.web`), and the file in it that lists the others."""
BESIDE_ARTEFACTS = (MANIFEST, WEB, "README.md", "pareto.svg", ".DS_Store")
"""Files of a bundle that its manifest does not list; an engine's log is `ENGINE.log`."""
PACKAGED = Path(__file__).parent / "shipped"
MAX_REOPENINGS = 20  # retries if a bundle is replaced while it is being opened


@dataclass(frozen=True)
class Artefact:
    """A file of a bundle, with its properties and measurements."""

    file: str
    sha256: str
    bytes: int
    precision: str = "fp32"
    """Numeric precision: "fp32", "fp16", "bf16", "int8", ..."""
    form: Form | None = None
    """None, as in older manifests: derived from the file's suffix."""
    output: Output = "heatmaps"
    requires: tuple[Requirement, ...] = ()
    opset: int | None = None
    batch: tuple[int, int | None] = (1, None)
    """Smallest and largest batch; None: any."""
    batches: tuple[int, ...] = ()
    """Engines only: the largest batch of each optimization profile."""
    built_for: BuiltFor | None = None
    """Engines only: the library, GPUs and system that it runs on."""
    graph_sha256: str | None = None
    """Engines only: SHA-256 of the graph that it was built from."""
    tools: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.file or Path(self.file).name != self.file:
            raise ValueError(f"file is {self.file!r}, which lies outside the bundle")
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise ValueError(f"sha256 is {self.sha256[:70]!r}, expected 64 hexadecimal digits")
        smallest, largest = self.batch
        if self.bytes < 0 or smallest < 1 or (largest or smallest) < smallest or min(self.batches, default=1) < 1:
            raise ValueError(f"bytes {self.bytes}, batch {self.batch}, batches {self.batches}: expected positive ones")
        form = FORMS.get(Path(self.file).suffix)
        if self.form not in (None, form):
            raise ValueError(f"{self.file} cannot be {self.form}: its suffix says {form or 'nothing'}")
        object.__setattr__(self, "form", form)
        if (form == "engine") != (self.built_for is not None):
            raise ValueError(f"{self.file}: engines, and only engines, must have built_for")

    @property
    def runs_on_cpu(self) -> bool:
        """Whether it maps crops to heatmaps on a CPU, given that its requirements are installed."""
        return self.form != "engine" and self.output == "heatmaps" and not IN_ENGINES_ONLY.intersection(self.requires)

    @classmethod
    def of(cls, path: Path, **facts: Any) -> "Artefact":
        """Describe a file, with its size and hash, that is to be added to a bundle."""
        return cls(file=path.name, sha256=file_sha256(path), bytes=path.stat().st_size, **facts)


@dataclass(frozen=True)
class Bundle:
    """A bundle, as described by its manifest."""

    root: Path
    variant: str
    spec: PoseSpec
    trained: bool
    """False: the weights are random, and the keypoints meaningless."""
    note: str
    artefacts: Mapping[str, Artefact]
    names: tuple[str, str] = (INPUT_NAME, OUTPUT_NAME)
    """Names of the input and of the output of its graphs and engines that give heatmaps."""
    fastest: Mapping[str, str] = field(default_factory=dict)
    """Name of the fastest artefact by device name, from `lehrnet tune`."""

    def path(self, name: str) -> Path:
        """Path of an artefact ("weights", "fp32", ...); ValueError for an unknown name."""
        if name not in self.artefacts:
            raise ValueError(f"{self.root} has no {name!r}; it has {', '.join(self.artefacts)}")
        return self.root / self.artefacts[name].file

    def read(self, name: str) -> bytes:
        """Read an artefact and check its size and hash; ValueError if they differ."""
        path, artefact = self.path(name), self.artefacts[name]
        _check_size(path, artefact)
        with path.open("rb") as file:
            return self.checked(name, file.read(artefact.bytes + 1))

    def checked(self, name: str, content: bytes) -> bytes:
        """Check the size and hash of an artefact's content and return it; ValueError if they differ."""
        path, artefact = self.path(name), self.artefacts[name]
        _compare_size(path, artefact, len(content))
        _compare_hash(path, artefact, hashlib.sha256(content).hexdigest())
        return content


def open_bundle(root: Path) -> Bundle:
    """Read a bundle and check the hash of every artefact; ValueError names a file that differs."""

    def open_whole() -> Bundle:
        bundle = read_bundle(root)
        for name, artefact in bundle.artefacts.items():
            _check_size(bundle.path(name), artefact)
            _compare_hash(bundle.path(name), artefact, file_sha256(bundle.path(name)))  # by pieces: engines are large
        return bundle

    return unless_replaced(root, open_whole)


def packaged_bundle() -> Bundle | None:
    """The bundle of the shipped weights that `make wheel` puts into the package; None in a checkout."""
    return read_bundle(PACKAGED) if (PACKAGED / MANIFEST).is_file() else None


def unless_replaced(root: Path, opened: Callable[[], T]) -> T:
    """Call `opened()` and return its result; retry if it fails because the bundle was being replaced."""
    for _ in range(MAX_REOPENINGS):
        before = _identity(root)
        try:
            return opened()
        except (ValueError, OSError):
            if _identity(root) == before:
                raise
    return opened()


def read_bundle(root: Path) -> Bundle:
    """Read only the manifest of a bundle; ValueError names the invalid key."""
    manifest = root / MANIFEST
    if not manifest.is_file():
        raise FileNotFoundError(f"no bundle at {root}: it has no {MANIFEST}; `lehrnet export` writes one")
    try:
        read = parse(_Manifest, read_json(manifest, LARGEST_MANIFEST))
        names = read.input.name, read.output.name
        return Bundle(root, read.variant, read.pose, read.trained, read.note, read.artefacts, names, read.fastest)
    except ValueError as error:
        reason = str(error).removeprefix(f"{manifest}: ")
        raise ValueError(f"{manifest} cannot be read: {reason}; export the bundle again") from error


@contextlib.contextmanager
def new_bundle_folder(root: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a scratch folder that becomes `root` if the block ends without an error, and is removed otherwise.

    An existing bundle is replaced only with `overwrite`, and only if its folder holds no other files. A folder that is
    not a bundle is never replaced.
    """
    refused = _why_not_replaceable(root, overwrite=overwrite) if root.exists() else ""
    if refused:
        raise FileExistsError(f"{root} exists already and {refused}")
    with atomic_folder(root, lambda folder: not _why_not_replaceable(folder, overwrite=overwrite)) as unfinished:
        yield unfinished


def extract(bundle: Bundle, names: Sequence[str], out: Path, *, overwrite: bool = False) -> Bundle:
    """Write a bundle under `out` that holds only some of a bundle's artefacts, for a device; return it.

    ValueError for an unknown name and for a file whose hash differs; `overwrite` as for `new_bundle_folder`.
    """
    kept = {name: bundle.artefacts[name] for name in names if bundle.path(name)}
    with new_bundle_folder(out, overwrite=overwrite) as folder:
        for name, artefact in kept.items():
            (folder / artefact.file).write_bytes(bundle.read(name))
        fastest = {device: name for device, name in bundle.fastest.items() if name in kept}
        write_manifest(replace(bundle, root=folder, artefacts=kept, fastest=fastest))
    return open_bundle(out)


def write_manifest(bundle: Bundle) -> None:
    """Write `bundle.json` into the bundle's root."""
    content = {
        "format": FORMAT,
        "variant": bundle.variant,
        "trained": bundle.trained,
        "note": bundle.note,
        "input": {"name": bundle.names[0], "layout": "NCHW", "colour_order": "rgb"},
        "output": {"name": bundle.names[1], "layout": "NCHW", "stride": bundle.spec.stride},
        "pose": asdict(bundle.spec),
        **({"fastest": dict(bundle.fastest)} if bundle.fastest else {}),
        "artefacts": {name: _artefact_facts(artefact) for name, artefact in bundle.artefacts.items()},
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(bundle.root / MANIFEST, text)


@dataclass(frozen=True)
class _Input:
    name: str
    layout: Literal["NCHW"]
    colour_order: Literal["rgb"]


@dataclass(frozen=True)
class _Output:
    name: str
    layout: Literal["NCHW"]
    stride: int


@dataclass(frozen=True)
class _Manifest:
    format: Literal["lehrnet-bundle-1"]
    variant: str
    trained: bool
    note: str
    input: _Input
    output: _Output
    pose: PoseSpec
    artefacts: Mapping[str, Artefact]
    fastest: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.output.stride != self.pose.stride:
            raise ValueError(f"output.stride is {self.output.stride}, but pose.stride {self.pose.stride}")
        if not self.input.name or not self.output.name or self.input.name == self.output.name:
            raise ValueError(f"input and output are called {self.input.name!r} and {self.output.name!r}")
        wrong = [name for name in self.artefacts if printable(name) != name or not name]
        if wrong:
            raise ValueError(f"artefacts holds a name that is empty or has control characters: {wrong[0]!r}")


def _artefact_facts(artefact: Artefact) -> dict[str, Any]:
    """An artefact for the manifest; keys that only engines have are left out for other files."""
    return {name: value for name, value in asdict(artefact).items() if value or name not in ENGINE_FIELDS}


def _check_size(path: Path, artefact: Artefact) -> None:
    """Check a file's existence and size before reading it, so that a manifest cannot make us read arbitrary files."""
    if not path.is_file():
        raise ValueError(f"{path} is missing; copy the bundle again or export it again")
    _compare_size(path, artefact, path.stat().st_size)


def _compare_size(path: Path, artefact: Artefact, found: int) -> None:
    if found != artefact.bytes:
        raise ValueError(f"{path} has {found} bytes, expected {artefact.bytes}; copy the bundle again")


def _compare_hash(path: Path, artefact: Artefact, found: str) -> None:
    if found != artefact.sha256:
        raise ValueError(f"{path} has SHA-256 {found[:12]}..., expected {artefact.sha256[:12]}...; copy it again")


def _why_not_replaceable(root: Path, *, overwrite: bool) -> str:
    """Why an existing folder must not be replaced by a new bundle; empty if it may be."""
    if not (root / MANIFEST).is_file():
        return "is not a bundle"
    if not overwrite:
        return "is a bundle; replace it with --overwrite"
    try:
        files = {artefact.file for artefact in read_bundle(root).artefacts.values()}
        foreign = _foreign_to_page(root / WEB) if (root / WEB).exists() else []
    except ValueError as error:
        return f"is a damaged bundle ({error}); remove it yourself, or choose another"
    logs = {Path(name).with_suffix(".log").name for name in files if Path(name).suffix == ENGINE}
    foreign += sorted({path.name for path in root.iterdir()} - files - logs - {*BESIDE_ARTEFACTS})
    return f"holds {foreign[0]!r}, which is no part of a bundle; move it away first" if foreign else ""


def _foreign_to_page(folder: Path) -> list[str]:
    """Files in a bundle's folder `web` that are no part of its page; ValueError where it cannot be told."""
    if not (folder / SITE).is_file():
        return [WEB]
    content = read_json(folder / SITE, LARGEST_MANIFEST)
    listed = parse(Mapping[str, Any], content.get("files") if isinstance(content, dict) else None, "files")
    found = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
    }
    return sorted(f"{WEB}/{name}" for name in found - {SITE, ".DS_Store", *listed})


def _identity(root: Path) -> tuple[int, int] | None:
    """A value that changes when the bundle or its manifest is replaced."""
    try:
        return root.stat().st_ino, (root / MANIFEST).stat().st_ino
    except OSError:
        return None


def manifest_sha256(root: Path) -> str:
    """SHA-256 of a bundle's manifest, which holds those of all its files."""
    return file_sha256(root / MANIFEST)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, which is read in pieces."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()

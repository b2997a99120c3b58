"""The bundle: a folder with `bundle.json` and the artefacts it names; what travels from training to devices."""

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..pose.files import replacing, tupled
from ..pose.heatmap import HEATMAP_STRIDE
from ..pose.spec import PoseSpec

FORMAT = "lehrnet-bundle-1"
MANIFEST = "bundle.json"
ENGINE_FIELDS = ("batches", "built_for", "graph_sha256")
INPUT_NAME, OUTPUT_NAME = "crops", "heatmaps"
WEIGHTS = "weights"
"""Name of the artefact that holds the PyTorch weights; the others are named by their precision."""


@dataclass(frozen=True)
class Artefact:
    """One file of a bundle, what it is and what was measured on it."""

    file: str
    sha256: str
    bytes: int
    precision: str = "fp32"
    opset: int | None = None
    batch: tuple[int, int | None] = (1, None)
    """Smallest and largest number of crops; None is any."""
    batches: tuple[int, ...] = ()
    """An engine's: the upper ends of its optimization profiles."""
    built_for: Mapping[str, Any] | None = None
    """An engine's: see `fit.BuiltFor`."""
    graph_sha256: str | None = None
    """An engine's: of the graph that it was built from."""
    tools: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, **facts: Any) -> "Artefact":
        """Describe a file that is about to be entered into a bundle."""
        return cls(file=path.name, sha256=_sha256(path), bytes=path.stat().st_size, **facts)


@dataclass(frozen=True)
class Bundle:
    """A bundle as its manifest describes it."""

    root: Path
    variant: str
    spec: PoseSpec
    trained: bool
    """False: the weights are random, and keypoints mean nothing."""
    note: str
    artefacts: Mapping[str, Artefact]
    fastest: Mapping[str, str] = field(default_factory=dict)
    """By device, the artefact that `lehrnet tune` found to be the fastest there."""

    def path(self, name: str) -> Path:
        """The file of an artefact: "weights", "fp32", ..."""
        if name not in self.artefacts:
            raise ValueError(f"{self.root} has no {name!r}; it has {', '.join(self.artefacts)}")
        return self.root / self.artefacts[name].file


def open_bundle(root: Path) -> Bundle:
    """Read a bundle and check every artefact against its hash; ValueError says which file differs and how."""
    bundle = read_bundle(root)
    for artefact in bundle.artefacts.values():
        _check(root / artefact.file, artefact)
    return bundle


def read_bundle(root: Path) -> Bundle:
    """Read a bundle's manifest only; ValueError for one that cannot be read."""
    manifest = root / MANIFEST
    if not manifest.is_file():
        raise FileNotFoundError(f"no bundle at {root}: it has no {MANIFEST}; `lehrnet export` writes one")
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        return _from_manifest(root, content)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{manifest} cannot be read: {error!r}; export the bundle again") from error


@contextlib.contextmanager
def new_bundle_folder(root: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A scratch folder that becomes `root` when the block ends without an error; otherwise nothing is left.

    An existing bundle is replaced only with `overwrite`; a folder that is no bundle never.
    """
    if root.exists() and not (overwrite and (root / MANIFEST).is_file()):
        kind = "a bundle; replace it with --overwrite" if (root / MANIFEST).is_file() else "not a bundle"
        raise FileExistsError(f"{root} exists already and is {kind}")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    except OSError as error:
        raise OSError(f"cannot write {root}: {error.strerror}; choose a folder that can be written") from error
    try:
        yield scratch
        scratch.chmod(0o755)  # mkdtemp makes it private
        _swap(scratch, root)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_manifest(bundle: Bundle) -> None:
    """Write `bundle.json` into the bundle's root."""
    skeleton = bundle.spec.joints
    content = {
        "format": FORMAT,
        "variant": bundle.variant,
        "trained": bundle.trained,
        "note": bundle.note,
        "input": {"name": INPUT_NAME, "layout": "NCHW", "colour_order": "rgb"},
        "output": {"name": OUTPUT_NAME, "layout": "NCHW", "stride": HEATMAP_STRIDE},
        "pose": {**asdict(bundle.spec), "skeleton": asdict(skeleton)},
        **({"fastest": dict(bundle.fastest)} if bundle.fastest else {}),
        "artefacts": {name: _artefact_facts(artefact) for name, artefact in bundle.artefacts.items()},
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    with replacing(bundle.root / MANIFEST) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _from_manifest(root: Path, content: Mapping[str, Any]) -> Bundle:
    if content["format"] != FORMAT:
        raise ValueError(f"its format is {content['format']!r}, expected {FORMAT!r}")
    pose = tupled(content["pose"])
    spec = PoseSpec(**{**pose, "skeleton": pose["skeleton"]["name"]})
    artefacts = {name: _artefact(facts) for name, facts in content["artefacts"].items()}
    fastest = content.get("fastest", {})
    return Bundle(root, content["variant"], spec, bool(content["trained"]), content["note"], artefacts, fastest)


def _artefact(facts: Mapping[str, Any]) -> Artefact:
    known = {item.name for item in fields(Artefact)}
    artefact = Artefact(**tupled({name: value for name, value in facts.items() if name in known}))
    if Path(artefact.file).name != artefact.file:
        raise ValueError(f"artefact {artefact.file!r} lies outside the bundle")
    return artefact


def _artefact_facts(artefact: Artefact) -> dict[str, Any]:
    """Only an engine has what engines have."""
    return {name: value for name, value in asdict(artefact).items() if value or name not in ENGINE_FIELDS}


def _check(path: Path, artefact: Artefact) -> None:
    if not path.is_file():
        raise ValueError(f"{path} is missing; copy the bundle again or export it again")
    if path.stat().st_size != artefact.bytes:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, expected {artefact.bytes}; copy the bundle again")
    found = _sha256(path)
    if found != artefact.sha256:
        raise ValueError(f"{path} has SHA-256 {found[:12]}..., expected {artefact.sha256[:12]}...; copy it again")


def _swap(scratch: Path, root: Path) -> None:
    """Put `scratch` in the place of `root`, whose old content goes last."""
    if not root.exists():
        scratch.replace(root)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{root.name}.old.", dir=root.parent))
    root.replace(old)
    scratch.replace(root)
    shutil.rmtree(old)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()

"""A model repository for Triton, from a bundle: written whole, version beside version.

REPOSITORY/pose/config.pbtxt        what Triton is told: inputs, batching, deadlines, the bundles' hashes
REPOSITORY/pose/warmup/             the first request, which Triton makes itself
REPOSITORY/pose/1/model.py, bundle/ a version: the door to lehrnet, and the bundle whole
"""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..files import atomic_folder, write_text
from ..runtime.bundle import (
    IN_ENGINES_ONLY,
    MANIFEST,
    Artefact,
    Bundle,
    manifest_sha256,
    open_bundle,
    read_bundle,
    unless_replaced,
)
from ..runtime.devices import AUTO, FASTEST, TORCH
from ..runtime.session import Trust
from .triton_config import (
    ARTEFACT,
    SHA256,
    WARMUP_BOXES,
    WARMUP_FRAME,
    Backend,
    Serving,
    onnxruntime_config,
    python_config,
    tensorrt_config,
)

CONFIG, WARMUP, COPY = "config.pbtxt", "warmup", "bundle"
TRUSTED = "trust_engine."
"""Parameter of a version whose engine the operator trusts: the engine's SHA-256."""
MODEL_PY = '''\
"""Triton's Python backend loads this file; the model is lehrnet's, and its bundle lies beside it."""

from lehrnet.serving.triton_model import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''
TEXT = r'("(?:[^"\\]|\\.)*")'
PARAMETER = re.compile(rf"^parameters \{{ key: {TEXT} value \{{ string_value: {TEXT} \}} \}}$", re.MULTILINE)
BACKEND = re.compile(r'^(?:backend|platform): "([a-z]*)', re.MULTILINE)


@dataclass(frozen=True)
class Written:
    """What was written into a repository."""

    model: Path
    version: int
    sha256: str
    """Of the bundle's manifest."""
    new: bool
    """False: the newest version is this bundle already, and only its configuration was written again."""


def write_repository(root: Path, out: Path, serving: Serving, *, trust_engine: Trust = False) -> Written:
    """Write the bundle `root` into the model repository `out` as a new version of the model `serving.name`.

    A bundle that is the newest version already gets its configuration again, and no version. Everything is checked
    before anything is written, and each version takes its name once it is whole.

    Raises:
        FileExistsError: `out`, or the model's folder in it, is something else, or is being written by another process.
        ValueError: the bundle is damaged, or lacks the artefact, or the backend cannot run it; or its keypoints or
            backend are not those of the versions that stand there.
    """
    return unless_replaced(root, lambda: _write(open_bundle(root), out, serving, trust_engine))


def _write(bundle: Bundle, out: Path, serving: Serving, trust_engine: Trust) -> Written:
    artefact = _artefact(bundle, serving, trust_engine)
    _check_repository(out)
    model, sha256 = out / serving.name, manifest_sha256(bundle.root)
    before = _parameters_of(model, bundle, serving)
    newest = max((int(key.removeprefix(SHA256)) for key in before if key.startswith(SHA256)), default=0)
    same = (before.get(f"{SHA256}{newest}"), before.get(f"{ARTEFACT}{newest}")) == (sha256, serving.artefact)
    version = newest if same else newest + 1
    trusted = {f"{TRUSTED}{version}": artefact.sha256} if artefact is not None and artefact.form == "engine" else {}
    facts = {**before, f"{SHA256}{version}": sha256, f"{ARTEFACT}{version}": serving.artefact, **trusted}
    text = _config(bundle, artefact, serving, facts)
    if same:
        write_text(model / CONFIG, text)
    elif before:
        with atomic_folder(model / str(version)) as unfinished:
            _fill_version(unfinished, bundle, artefact, serving)
            write_text(model / CONFIG, text)  # first, so that a version is never there without its hash
    else:
        with atomic_folder(model if out.exists() else out) as unfinished:
            folder = unfinished if out.exists() else unfinished / serving.name
            (folder / str(version)).mkdir(parents=True)
            _fill_version(folder / str(version), bundle, artefact, serving)
            _fill_model(folder, text, serving)
    return Written(model, version, sha256, not same)


def read_parameters(config: str) -> dict[str, str]:
    """The parameters of a configuration that `write_repository` wrote."""
    return {json.loads(key): json.loads(value) for key, value in PARAMETER.findall(config)}


def _artefact(bundle: Bundle, serving: Serving, trust_engine: Trust) -> Artefact | None:
    """What is to be served; None where the server chooses. ValueError for what the backend cannot run."""
    name, backend = serving.artefact, serving.backend
    if backend == "python" and (name in (AUTO, FASTEST) or name.startswith(f"{TORCH}_")):
        return None
    if name in (AUTO, FASTEST):
        raise ValueError(
            f"--backend {backend} serves one file: name it by --artefact, of {_those_for(bundle, backend)}"
        )
    path, artefact = bundle.path(name), bundle.artefacts[name]
    if artefact.form == "engine" and trust_engine not in (True, artefact.sha256):
        raise ValueError(
            f"{path.name} is an engine, that is, executable code by whoever built it: --trust-engine serves it, "
            "--trust-engine SHA256 only the one with that hash"
        )
    if not _fits(artefact, backend):
        raise ValueError(
            f"{path} is of the form {artefact.form}, {artefact.precision}, gives {artefact.output} and requires "
            f"{', '.join(artefact.requires) or 'nothing'}: --backend {backend} does not run that, but "
            f"{_those_for(bundle, backend)}"
        )
    return artefact


def _fits(artefact: Artefact, backend: Backend) -> bool:
    """Whether a backend of Triton runs an artefact."""
    match backend:
        case "python":
            return artefact.output == "heatmaps" and not (
                artefact.form == "graph" and IN_ENGINES_ONLY.intersection(artefact.requires)
            )
        case "onnxruntime":
            # INT8 graphs want session.disable_quant_qdq, and whether Triton passes that on was not seen.
            return artefact.form == "graph" and not artefact.requires and "int8" not in artefact.precision
        case "tensorrt":
            return (
                artefact.form == "engine"
                and artefact.built_for is not None
                and artefact.built_for.library == "tensorrt"
            )


def _those_for(bundle: Bundle, backend: Backend) -> str:
    names = [name for name, artefact in bundle.artefacts.items() if _fits(artefact, backend)]
    return ", ".join(names) or f"none of this bundle's ({', '.join(bundle.artefacts)})"


def _check_repository(out: Path) -> None:
    """Raise FileExistsError unless `out` is missing, empty, or holds nothing but models."""
    if not out.exists():
        return
    if not out.is_dir():
        raise FileExistsError(f"{out} is a file, expected a folder that is, or becomes, a model repository")
    for entry in sorted(out.iterdir()):
        if not entry.name.startswith(".") and not (entry / CONFIG).is_file():
            raise FileExistsError(
                f"{out} holds {entry.name!r}, which is no model of Triton's (it has no {CONFIG}): it is no model "
                "repository; choose another folder"
            )


def _parameters_of(model: Path, bundle: Bundle, serving: Serving) -> dict[str, str]:
    """Parameters of the versions that stand in a model's folder; empty where there is none.

    FileExistsError if it is not lehrnet's, ValueError if the bundle cannot stand beside them.
    """
    if not model.exists():
        return {}
    text = (model / CONFIG).read_text(encoding="utf-8")
    kept = {key: value for key, value in read_parameters(text).items() if key.startswith((SHA256, ARTEFACT, TRUSTED))}
    backend = BACKEND.search(text)
    versions = [key.removeprefix(SHA256) for key in kept if key.startswith(SHA256)]
    if not versions or backend is None:
        raise FileExistsError(f"{model} is a model that lehrnet did not write; choose another name by --name")
    if backend[1] != serving.backend:
        raise ValueError(f"{model} is served by {backend[1]}, not by {serving.backend}; choose another name by --name")
    stands = model / versions[-1] / (COPY if serving.backend == "python" else "")
    if stands.is_dir():
        other = read_bundle(stands)
        same = other.spec.skeleton == bundle.spec.skeleton
        if not same or (serving.backend != "python" and other.spec.input_size != bundle.spec.input_size):
            raise ValueError(
                f"{stands} finds {len(other.spec.skeleton)} joints of {other.spec.skeleton.name} on "
                f"{other.spec.input_size}, {bundle.root} {len(bundle.spec.skeleton)} of {bundle.spec.skeleton.name} on "
                f"{bundle.spec.input_size}: clients would read other points; choose another name by --name"
            )
    return kept


def _config(bundle: Bundle, artefact: Artefact | None, serving: Serving, facts: Mapping[str, str]) -> str:
    if artefact is None or serving.backend == "python":
        return python_config(bundle, serving, facts)
    return (onnxruntime_config if serving.backend == "onnxruntime" else tensorrt_config)(
        bundle, artefact, serving, facts
    )


def _fill_version(folder: Path, bundle: Bundle, artefact: Artefact | None, serving: Serving) -> None:
    """Fill a version's folder: our model and the whole bundle, or the one file with the manifest beside it."""
    if serving.backend == "python":
        copy = folder / COPY
        copy.mkdir()
        for name in (MANIFEST, *(each.file for each in bundle.artefacts.values())):
            shutil.copyfile(bundle.root / name, copy / name)
        open_bundle(copy)  # what was copied is what was checked
        (folder / "model.py").write_text(MODEL_PY, encoding="utf-8")
        return
    assert artefact is not None
    target = folder / ("model.plan" if serving.backend == "tensorrt" else "model.onnx")
    target.write_bytes(bundle.read(serving.artefact))
    shutil.copyfile(bundle.root / MANIFEST, folder / MANIFEST)


def _fill_model(folder: Path, text: str, serving: Serving) -> None:
    """Write a model's configuration, and its first request: a black frame with one person."""
    if serving.backend == "python":
        (folder / WARMUP).mkdir()
        height, width, _ = WARMUP_FRAME
        (folder / WARMUP / WARMUP_BOXES).write_bytes(np.array([0, 0, width, height], "<f4").tobytes())
    (folder / CONFIG).write_text(text, encoding="utf-8")

"""The table of attacks of November 2026, tried again through the command line: what was tried, what fell short.

    .venv/bin/python tests/fault_table.py

Each row is an input as somebody made it and what is right about the answer: an exit code, a sentence, and what must
or must not be on the disk. No answer may be a traceback. Figures are drawn and the network
is tiny: it runs anywhere.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import torch

from lehrnet.cli import main
from lehrnet.export import export_bundle
from lehrnet.files import UNFINISHED
from lehrnet.model import NetworkConfig, PoseNetwork
from lehrnet.model.checkpoint import Checkpoint
from lehrnet.pose.spec import PoseSpec
from lehrnet.pose.synthetic import write_synthetic
from lehrnet.runtime.bundle import Artefact, read_bundle, write_manifest

Check = Callable[["Bench"], str]
ROWS: list[tuple[str, str, Check]] = []


def row(group: str, text: str) -> Callable[[Check], Check]:
    """Enter a check into the table; it gives what fell short, or an empty text."""

    def entered(check: Check) -> Check:
        ROWS.append((group, text, check))
        return check

    return entered


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    def refused(self, words: str, code: int = 2) -> str:
        """Short unless it ended with this code and one sentence that holds the words."""
        if self.code != code:
            return f"code {self.code}, expected {code}: {self.err[-200:]}"
        if "Traceback" in self.err or "bug in lehrnet" in self.err:
            return f"a fault of ours: {self.err[-200:]}"
        return "" if words in self.err else f"it says {self.err[-200:]!r}, expected {words!r}"

    def fine(self) -> str:
        """Short unless it ended well."""
        return "" if self.code == 0 else f"code {self.code}: {self.err[-200:]}"


class Bench:
    """A folder of its own for each row, with a bundle, data and pictures to harm."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home, self.folder = home, folder
        self.bundle, self.data = folder / "bundle", folder / "data"
        shutil.copytree(home / "bundle", self.bundle)
        shutil.copytree(home / "data", self.data)
        self.picture = next((self.data / "images").iterdir())
        self.labels = self.data / "person_keypoints.json"

    def run(self, *arguments: object) -> Answer:
        """A command in this process."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main([str(argument) for argument in arguments])
            except SystemExit as stop:  # argparse
                code = int(stop.code or 0)
            except BaseException:
                code = -1
                err.write(traceback.format_exc())
        return Answer(code, out.getvalue(), err.getvalue())

    def apart(self, *arguments: object, **environment: str) -> Answer:
        """A command in a process of its own, in this row's folder."""
        command = [sys.executable, "-m", "lehrnet", *map(str, arguments)]
        found = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            timeout=120,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )
        return Answer(found.returncode, found.stdout, found.stderr)

    def predict(self, *arguments: object, source: Path | None = None) -> Answer:
        return self.run("predict", self.bundle, source or self.picture, "--device", "cpu", *arguments)

    def manifest(self, change: Callable[[dict[str, Any]], object]) -> "Bench":
        return self._changed(self.bundle / "bundle.json", change)

    def label(self, change: Callable[[dict[str, Any]], object]) -> "Bench":
        return self._changed(self.labels, change)

    def graph(self, path: Path) -> "Bench":
        """The bundle with another FP32 graph, whose hash is right."""
        found = read_bundle(self.bundle)
        write_manifest(replace(found, artefacts={**found.artefacts, "fp32": Artefact.of(path)}))
        return self

    def write(self, name: str, content: bytes) -> Path:
        (self.folder / name).write_bytes(content)
        return self.folder / name

    def _changed(self, path: Path, change: Callable[[dict[str, Any]], object]) -> "Bench":
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        return self


ENGINE = {
    "library": "tensorrt",
    "version": "10.3.0",
    "compute_capabilities": ["8.7"],
    "system": "Linux",
    "machine": "x86_64",
}


def engine(bench: Bench, **facts: object) -> Bench:
    """A bundle with an engine that a stranger made."""
    path = bench.bundle / "fp16.engine"
    path.write_bytes(b"code")
    artefact = {**vars(Artefact.of(bench.bundle / "fp32.onnx")), "file": path.name, "form": "engine", "bytes": 4}

    artefact |= {"sha256": hashlib.sha256(b"code").hexdigest(), "built_for": {**ENGINE, **facts}}
    return bench.manifest(lambda content: content["artefacts"].update(fp16=json.loads(json.dumps(artefact))))


def manifest_row(group: str, text: str, change: Callable[[dict[str, Any]], object], words: str) -> None:
    ROWS.append((group, text, lambda bench: bench.manifest(change).predict().refused(words)))


def label_row(text: str, change: Callable[[dict[str, Any]], object], words: str = "", code: int = 0) -> None:
    """Every command that reads labels answers alike: it is refused with words, or what can be used is used."""

    def check(bench: Bench) -> str:
        bench.label(change)
        answers = [
            bench.run("evaluate", bench.bundle, "--data", bench.data, "--device", "cpu"),
            bench.run("pack", bench.data, "--out", bench.folder / "pack"),
            bench.run("verify", bench.bundle, "--data", bench.data),
        ]
        wrong = [answer.refused(words, code) if code else answer.fine() for answer in answers]
        return "; ".join(filter(None, wrong))

    ROWS.append(("labels", text, check))


# Code that a bundle brings or names


def marked(bench: Bench, answer: Answer, words: str) -> str:
    if (bench.folder / "ran").exists() or "Zen of Python" in answer.out:
        return "code of the bundle's ran"
    return answer.refused(words)


@row("code", "engine built_for.library names a module beside the bundle")
def _(bench: Bench) -> str:
    bench.write("evil.py", b"open('ran', 'w')")
    answer = engine(bench, library="evil").apart("predict", bench.bundle, bench.picture, "--artefact", "fp16")
    return marked(bench, answer, "built_for.library is 'evil'")


@row("code", "engine built_for.library = this")
def _(bench: Bench) -> str:
    answer = engine(bench, library="this").apart("predict", bench.bundle, bench.picture, "--artefact", "fp16")
    return marked(bench, answer, "built_for.library is 'this'")


@row("code", "doctor on a bundle whose engine names a module")
def _(bench: Bench) -> str:
    bench.write("evil.py", b"open('ran', 'w')")
    return marked(bench, engine(bench, library="evil").apart("doctor", bench.bundle), "built_for.library is 'evil'")


@row("code", "fastest -> engine, with --fallback fp32: the graph runs, the engine does not")
def _(bench: Bench) -> str:
    from lehrnet.runtime.devices import processor_name

    engine(bench).manifest(lambda content: content.update(fastest={processor_name(): "fp16"}))
    answer = bench.predict("--artefact", "fastest", "--fallback", "fp32")
    return answer.fine() or ("" if "is an engine, that is, executable code" in answer.err else "nothing was said")


@row("code", "an engine that nobody trusts")
def _(bench: Bench) -> str:
    return (
        engine(bench)
        .predict("--artefact", "fp16")
        .refused("is an engine, that is, executable code by whoever built it")
    )


@row("code", "an engine trusted by another hash")
def _(bench: Bench) -> str:
    return engine(bench).predict("--artefact", "fp16", "--trust-engine", "ab" * 32).refused("its SHA-256 is")


@row("code", "built_for lacks keys")
def _(bench: Bench) -> str:
    return (
        bench.manifest(lambda content: content["artefacts"]["fp32"].update(built_for={"library": "tensorrt"}))
        .predict()
        .refused("built_for.version is missing")
    )


@row("code", "library a list")
def _(bench: Bench) -> str:
    return engine(bench, library=["tensorrt"]).predict().refused("expected 'tensorrt' or 'tensorrt_rtx'")


manifest_row("code", "fastest is a number", lambda c: c.update(fastest=3), "fastest is 3, expected an object")
manifest_row("code", "built_for is a number", lambda c: c["artefacts"]["fp32"].update(built_for=3), "built_for is 3")


@row("code", "LEHRNET_LIBRARY=mylib.so, a good library in the current folder")
def _(bench: Bench) -> str:
    bench.write("mylib.so", b"")
    packed = ("export", bench.bundle / "model.safetensors", "--precisions", "native_fp32", "--out", "packed")
    answer = bench.apart(*packed, LEHRNET_LIBRARY="mylib.so")
    return answer.refused("expected an absolute path: a library is code")


# Manifests that say what is not

manifest_row("bundle", "skeleton lists 16 joints", lambda c: c["pose"]["skeleton"]["joints"].pop(), "17 sigmas for 16")
manifest_row(
    "bundle", "skeleton in another order", lambda c: c["pose"]["skeleton"]["joints"].reverse(), "not lehrnet's"
)
manifest_row("bundle", "skeleton called mpii16", lambda c: c["pose"]["skeleton"].update(name="mpii16"), "not lehrnet's")
manifest_row(
    "bundle", "flip_pairs out of range", lambda c: c["pose"]["skeleton"].update(flip_pairs=[[0, 99]]), "joint 99"
)
manifest_row(
    "bundle", "input_size floats", lambda c: c["pose"].update(input_size=[64.0, 64.0]), "expected a whole number"
)
manifest_row("bundle", "mean strings", lambda c: c["pose"].update(mean=["a", "b", "c"]), "expected a finite number")
manifest_row("bundle", "padding Infinity", lambda c: c["pose"].update(padding=float("inf")), "no number of JSON")
manifest_row("bundle", "sha256 null", lambda c: c["artefacts"]["fp32"].update(sha256=None), "sha256 is None")
manifest_row(
    "bundle", "trained a text", lambda c: c.update(trained="false"), "trained is 'false', expected true or false"
)
manifest_row("bundle", "colour_order bgr", lambda c: c["input"].update(colour_order="bgr"), "expected 'rgb'")
manifest_row("bundle", "input name differs", lambda c: c["input"].update(name="x"), "maps 'crops'")
manifest_row(
    "bundle", "144 GB of buffers", lambda c: c["pose"].update(input_size=[4096, 4096]), "but the manifest says"
)
manifest_row("bundle", "escape sequences", lambda c: c.update(note="\x1b]0;owned\x07"), "without control characters")


@row("bundle", "an artefact of 200 GB, sparse, that the manifest calls small")
def _(bench: Bench) -> str:
    os.truncate(bench.bundle / "fp32.onnx", 200_000_000_000)
    return bench.predict().refused("has 200000000000 bytes, expected")


@row("bundle", "unlisted external weights, read from the current folder")
def _(bench: Bench) -> str:
    path, here = bench.bundle / "fp32.onnx", Path.cwd()
    model = onnx.load(str(path))
    path.unlink()
    onnx.save(model, str(path), save_as_external_data=True, location="w.bin", size_threshold=0)
    os.chdir(bench.graph(path).bundle)
    try:
        return bench.predict().refused("keeps tensors in other files")
    finally:
        os.chdir(here)


# Graphs that are of another kind


def foreign(bench: Bench, *nodes: Any, shape: list[Any], out: list[Any], kind: int = 1, out_kind: int = 1) -> Answer:
    helper = onnx.helper
    crops = helper.make_tensor_value_info("crops", kind, shape)
    heatmaps = helper.make_tensor_value_info("heatmaps", out_kind, out)
    constants = [
        helper.make_tensor("tile", 7, [4], [1, 17, 1, 1]),
        helper.make_tensor("two", 7, [4], [2, 17, 1, 1]),
        helper.make_tensor("huge", 7, [4], [1, 200_000, 200_000, 1]),
    ]
    graph = helper.make_graph(list(nodes), "g", [crops], [heatmaps], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(bench.bundle / "fp32.onnx"))
    return bench.graph(bench.bundle / "fp32.onnx").predict()


def pooled(size: int) -> list[Any]:
    helper = onnx.helper
    return [
        helper.make_node("AveragePool", ["crops"], ["p"], kernel_shape=[size, size], strides=[size, size]),
        helper.make_node("ReduceMean", ["p"], ["m"], axes=[1], keepdims=1),
    ]


@row("onnx", "heatmaps of 8x8")
def _(bench: Bench) -> str:
    tile = onnx.helper.make_node("Tile", ["m", "tile"], ["heatmaps"])
    return foreign(bench, *pooled(8), tile, shape=["n", 3, 64, 64], out=["n", 17, 8, 8]).refused(
        "finds 17 joints on (8, 8) cells, but the manifest says"
    )


@row("onnx", "output batch doubled")
def _(bench: Bench) -> str:
    tile = onnx.helper.make_node("Tile", ["m", "two"], ["heatmaps"])
    answer = foreign(bench, *pooled(4), tile, shape=["n", 3, 64, 64], out=["m", 17, 16, 16])
    return answer.refused("gave heatmaps of shape (2, 17, 16, 16) for 1 crops")


@row("onnx", "input H, W symbolic")
def _(bench: Bench) -> str:
    tile = onnx.helper.make_node("Tile", ["m", "tile"], ["heatmaps"])
    return foreign(bench, *pooled(4), tile, shape=["n", 3, "h", "w"], out=["n", 17, "a", "b"]).refused(
        "with fixed H and W"
    )


for wrong_kind, number in (("float16", 10), ("uint8", 2)):

    def wrong_input(bench: Bench, number: int = number) -> str:
        cast = onnx.helper.make_node("Cast", ["crops"], ["heatmaps"], to=1)
        answer = foreign(bench, cast, shape=["n", 3, 64, 64], out=["n", 3, 64, 64], kind=number)
        return answer.refused("expected tensor(float) of N x 3 x H x W")

    ROWS.append(("onnx", f"input {wrong_kind}", wrong_input))


@row("onnx", "output rank 1")
def _(bench: Bench) -> str:
    flat = onnx.helper.make_node("ReduceMean", ["crops"], ["heatmaps"], axes=[1, 2, 3], keepdims=0)
    return foreign(bench, flat, shape=["n", 3, 64, 64], out=["n"]).refused("expected tensor(float) of N x K x h x w")


@row("onnx", "output is a sequence")
def _(bench: Bench) -> str:
    helper = onnx.helper
    crops = helper.make_tensor_value_info("crops", 1, ["n", 3, 64, 64])
    out = helper.make_tensor_sequence_value_info("heatmaps", 1, None)
    graph = helper.make_graph([helper.make_node("SequenceConstruct", ["crops"], ["heatmaps"])], "g", [crops], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(bench.bundle / "fp32.onnx"))
    return bench.graph(bench.bundle / "fp32.onnx").predict().refused("expected tensor(float)")


@row("onnx", "a tensor of 160 GB at run")
def _(bench: Bench) -> str:
    large = onnx.helper.make_node("ConstantOfShape", ["huge"], ["h"])
    add = onnx.helper.make_node("Tile", ["m", "tile"], ["t"])
    most = onnx.helper.make_node("ReduceMean", ["h"], ["r"], keepdims=1)
    total = onnx.helper.make_node("Add", ["t", "r"], ["heatmaps"])
    nodes = (*pooled(4), large, most, add, total)
    answer = foreign(bench, *nodes, shape=["n", 3, 64, 64], out=["n", 17, 16, 16])
    return answer.refused("ONNX Runtime") if answer.code else "it ran"


# Pictures


def picture_row(text: str, make: Callable[[Bench], Path], words: str) -> None:
    ROWS.append(("image", text, lambda bench: bench.predict(source=make(bench)).refused(words)))


def bomb(bench: Bench, side: int = 30_000) -> Path:
    content = bytearray(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    place = content.index(b"\xff\xc0")
    content[place + 5 : place + 9] = struct.pack(">HH", side, side)
    return bench.write("bomb.jpg", bytes(content))


def pipe(bench: Bench) -> Path:
    os.mkfifo(bench.folder / "pipe.jpg")
    return bench.folder / "pipe.jpg"


def half(bench: Bench) -> bytes:
    content = bench.picture.read_bytes()
    return content[: len(content) // 2]


picture_row("a JPEG header of 30,000 x 30,000", bomb, "has 30000 x 30000 pixels, more than")
picture_row("a GIF header of 65,535 x 65,535", lambda b: b.write("a.gif", b"GIF89a" + b"\xff" * 40), "65535 x 65535")
picture_row("a pipe that nobody writes", pipe, "is not a regular file")
picture_row("/dev/zero", lambda _: Path("/dev/zero"), "is not a regular file")
picture_row("half a JPEG", lambda b: b.write("half.jpg", half(b)), "is cut off")
picture_row("half a JPEG with an end glued on", lambda b: b.write("half.jpg", half(b) + b"\xff\xd9"), "is cut off")
picture_row(
    "a Radiance header", lambda b: b.write("a.hdr", b"#?RADIANCE\n\n-Y 99999 +X 99999\n"), "is not an image that"
)


@row("image", "a JPEG with a video behind it")
def _(bench: Bench) -> str:
    return bench.predict(source=bench.write("m.jpg", bench.picture.read_bytes() + os.urandom(400_000))).fine()


# Labels


def every(content: dict[str, Any], **facts: object) -> None:
    for entry in content["annotations"]:
        entry.update(facts)


label_row("categories a string", lambda c: c.update(categories="person"), "categories is no list", 2)
label_row("annotations an object", lambda c: c.update(annotations={}), "annotations is no list", 2)
label_row("an annotation is a number", lambda c: c["annotations"].append(7))
label_row("an annotation's area is NaN", lambda c: c["annotations"][0].update(area=float("nan")))
label_row("an annotation's area is negative", lambda c: c["annotations"][0].update(area=-1))
label_row("every area is NaN", lambda c: every(c, area=float("nan")), "none of its annotations can be used", 2)
label_row("an image's id is 2^70", lambda c: c["images"].append({"id": 2**70, "file_name": "x.jpg"}))
label_row("an annotation's id is 2^70", lambda c: c["annotations"][0].update(id=2**70))
label_row("an image's id is null", lambda c: c["images"].append({"id": None, "file_name": "x.jpg"}))
label_row("a file_name leads outside", lambda c: c["images"].append({"id": 0, "file_name": "../../o.jpg"}))
label_row("a file_name is absolute", lambda c: c["images"].append({"id": 0, "file_name": "/etc/o.jpg"}))


# What is written


@row("write", "predict --out the folder of the photographs")
def _(bench: Bench) -> str:
    before = bench.picture.read_bytes()
    answer = bench.predict("--out", bench.data / "images", source=bench.data / "images")
    if bench.picture.read_bytes() != before:
        return "a photograph was drawn over"
    return answer.refused("would write a drawing over the photograph")


@row("write", "evaluate --keypoints the label file")
def _(bench: Bench) -> str:
    answer = bench.run("evaluate", bench.bundle, "--data", bench.data, "--keypoints", bench.labels)
    return answer.refused("would overwrite one of the inputs")


@row("write", "bench --result over a file of the bundle")
def _(bench: Bench) -> str:
    answer = bench.run("bench", bench.bundle, "--result", bench.bundle / "bundle.json")
    return answer.refused("would overwrite one of the inputs")


@row("write", "export --overwrite through a symbolic link")
def _(bench: Bench) -> str:
    (bench.folder / "link").symlink_to("bundle")
    weights = shutil.copy(bench.bundle / "model.safetensors", bench.folder / "w.safetensors")
    answer = bench.run("export", weights, "--out", bench.folder / "link", "--overwrite")
    return answer.fine() or ("" if (bench.folder / "link").is_symlink() else "the link is gone")


@row("write", "export --overwrite of a folder with a file of the user's")
def _(bench: Bench) -> str:
    weights = shutil.copy(bench.bundle / "model.safetensors", bench.folder / "w.safetensors")
    (bench.bundle / "notes.txt").write_text("mine")
    answer = bench.run("export", weights, "--out", bench.bundle, "--overwrite")
    return answer.refused("which is no part of a bundle") or ("" if (bench.bundle / "notes.txt").exists() else "lost")


@row("write", "two exports into one new folder at once")
def _(bench: Bench) -> str:
    command = [sys.executable, "-m", "lehrnet", "export", str(bench.bundle / "model.safetensors"), "--out", "new"]
    both = [subprocess.Popen(command, cwd=bench.folder, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        process.communicate(timeout=120)
    codes = sorted(process.returncode for process in both)
    read_bundle(bench.folder / "new")
    return "" if codes == [0, 2] else f"codes {codes}"


@row("write", "umask 077: nothing of the bundle is readable to others")
def _(bench: Bench) -> str:
    old = os.umask(0o077)
    try:
        answer = bench.run("export", bench.bundle / "model.safetensors", "--out", bench.folder / "b")
    finally:
        os.umask(old)
    modes = {p.name: oct(p.stat().st_mode & 0o77) for p in [bench.folder / "b", *(bench.folder / "b").iterdir()]}
    return answer.fine() or ("" if set(modes.values()) == {"0o0"} else str(modes))


@row("write", "an export that fails leaves nothing")
def _(bench: Bench) -> str:
    answer = bench.run(
        "export", bench.bundle / "model.safetensors", "--out", bench.folder / "b", "--precisions", "int8"
    )
    left = [path.name for path in bench.folder.iterdir() if UNFINISHED in path.name or path.name == "b"]
    return ("" if answer.code == 2 else f"code {answer.code}") or ("" if not left else f"left {left}")


# Limits


@row("limits", "--threads 100000")
def _(bench: Bench) -> str:
    return bench.predict("--threads", 100_000).refused("threads is 100000, expected 1 to")


@row("limits", "bench --batch 1000000000")
def _(bench: Bench) -> str:
    return bench.run("bench", bench.bundle, "--batch", 10**9).refused("expected whole numbers from 1 to")


@row("results", "bench --compare of files whose subjects are null")
def _(bench: Bench) -> str:
    path = bench.write("r.json", b'{"format": "lehrnet-result-1", "subjects": null}')
    return bench.run("bench", "--compare", path, path).refused("subjects is None, expected an object")


@row("nobody", "detections []")
def _(bench: Bench) -> str:
    boxes = bench.write("boxes.json", b"[]")
    answer = bench.predict("--boxes", boxes, "--json")
    return answer.fine() or ("" if json.loads(answer.out) == [] else answer.out)


def table() -> Iterator[tuple[str, str, str]]:
    """Every row: group, what was tried, and what fell short."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        network = PoseNetwork(NetworkConfig(width=8, units=1, modules=(1, 1, 1))).eval()
        for module in network.modules():  # weights of a size that leaves no two cells equal
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.normal_(module.weight, 1, 0.3)
        export_bundle(Checkpoint(network, PoseSpec(input_size=(64, 64))), home / "bundle", precisions=("fp32",))
        write_synthetic(home / "data", 6)
        for number, (group, text, check) in enumerate(ROWS):
            place = home / f"row{number}"
            place.mkdir()
            try:
                short = check(Bench(home, place))
            except Exception as error:
                short = f"{type(error).__name__}: {error}"
            shutil.rmtree(place, ignore_errors=True)
            yield group, text, short


if __name__ == "__main__":
    tried, short = 0, 0
    for group_, text_, short_ in table():
        tried, short = tried + 1, short + bool(short_)
        print(f"{'SHORT' if short_ else 'ok':6}{group_:8} {text_}{f': {short_}' if short_ else ''}", flush=True)
    print(f"{tried} tried, {short} short")
    sys.exit(1 if short else 0)

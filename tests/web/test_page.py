"""The page in Chromium: the same keypoints as Python's, with and without isolation, and words for what it cannot do."""

import functools
import http.server
import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from lehrnet.pose.pictures import read_image
from lehrnet.pose.results import coco_results
from lehrnet.pose.synthetic import draw_scene
from lehrnet.runtime.bundle import Bundle, read_bundle
from lehrnet.runtime.track.matching import boxes_of
from lehrnet.web.server import open_server
from lehrnet.web.site import read_site

TOLERANCE_PX = 0.05
PHOTOGRAPHS = 10


class PlainFiles(http.server.SimpleHTTPRequestHandler):
    """Any static server, without the headers that isolate a page."""

    def log_message(self, format, *args) -> None:  # noqa: A002
        pass


ORIGINS: set[str] = set()
"""Of all servers of this file."""


@contextmanager
def served(bundle: Path, *, isolated: bool) -> Iterator[str]:
    handler = functools.partial(PlainFiles, directory=bundle / "web")
    server = open_server(bundle, 0) if isolated else http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ORIGINS.add(f"http://127.0.0.1:{server.server_port}")
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def expected(bundle: Bundle, image, boxes, precision: str = "fp16"):
    """Keypoints (N, K, 3) of the page's own graph in Python's ONNX Runtime."""
    from lehrnet.runtime.backends.onnxruntime import open_graph, run_graph

    path = bundle.root / "web" / read_site(bundle.root).graphs[precision].file
    frame = cv2.cvtColor(image, cv2.COLOR_BGR2RGBA)
    feeds = {"frame": frame, "boxes": np.asarray(boxes, np.float32)}
    return run_graph(_opened(open_graph, path), path, ["keypoints"], feeds)[0]


@functools.lru_cache(maxsize=4)
def _opened(opener, path: Path):
    return opener(path)


def draw(folder: Path, count: int) -> list[Path]:
    """Pictures of drawn figures, each of another size."""
    paths = []
    for seed in range(count):
        frame, _ = draw_scene(np.random.default_rng(seed))
        paths.append(folder / f"{seed + 1:03}.png")
        cv2.imwrite(str(paths[-1]), frame[: 512 - 17 * seed, : 300 + 20 * seed])
    return paths


@pytest.fixture(scope="module")
def net_log(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("log") / "net.json"


@pytest.fixture(scope="module")
def opened(chromium, net_log: Path):
    """One Chromium for the tests of this file, which logs every request."""
    with chromium.browser(f"--log-net-log={net_log}") as browser:
        yield browser


@pytest.fixture(scope="module")
def address(web_bundle: Path) -> Iterator[str]:
    with served(web_bundle, isolated=True) as found:
        yield found


@pytest.fixture(scope="module")
def page(opened, chromium, address: str):
    """A page with its network loaded."""
    found = chromium.BundlePage(opened.new_page())
    found.open(address)
    yield found
    assert found.errors == []


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> list[Path]:
    return draw(tmp_path_factory.mktemp("pictures"), PHOTOGRAPHS)


@pytest.mark.parametrize("isolated", [True, False], ids=["isolated", "any server"])
def test_ten_pictures_have_python_s_keypoints(
    isolated: bool, web_bundle: Path, chromium, opened, drawn: list[Path]
) -> None:
    with served(web_bundle, isolated=isolated) as address:
        found = chromium.BundlePage(opened.new_page())
        found.open(address)
        words = found.page.inner_text("#isolation")
        assert words.startswith("The page is isolated" if isolated else "One thread: the server does not send")
        if not isolated:
            assert found.page.locator("#threads option").all_inner_texts() == ["1"]
        check_same(found, read_bundle(web_bundle), drawn)
        found.page.close()


def check_same(page, bundle: Bundle, pictures: list[Path]) -> None:
    for path in pictures:
        frame, image = page.find(path), read_image(path)
        np.testing.assert_array_equal(frame.boxes, [[0, 0, image.shape[1], image.shape[0]]])
        np.testing.assert_allclose(
            frame.points[..., :2], expected(bundle, image, frame.boxes)[..., :2], atol=TOLERANCE_PX
        )


def test_boxes_of_mouse_and_keyboard_have_python_s_keypoints(web_bundle: Path, page, drawn: list[Path]) -> None:
    image = read_image(drawn[0])
    page.find(drawn[0])
    left, top, width, height = page.page.locator("#stage").bounding_box().values()

    def drag() -> None:
        page.page.mouse.move(left + 0.2 * width, top + 0.1 * height)
        page.page.mouse.down()
        page.page.mouse.move(left + 0.5 * width, top + 0.6 * height)
        page.page.mouse.up()

    frame = page.answer_to(drag)
    share = frame.boxes[0] / np.array([image.shape[1], image.shape[0]] * 2)
    np.testing.assert_allclose(share, [0.2, 0.1, 0.5, 0.6], atol=0.01)
    page.page.focus("#stage")
    frame = page.answer_to(lambda: page.page.keyboard.press("b"))
    assert len(frame.boxes) == 2
    moved = page.answer_to(lambda: page.page.keyboard.press("ArrowRight"))
    assert moved.boxes[1][0] > frame.boxes[1][0]
    wider = page.answer_to(lambda: page.page.keyboard.press("Shift+ArrowRight"))
    assert (wider.boxes[1][0], wider.boxes[1][2] > moved.boxes[1][2]) == (moved.boxes[1][0], True)
    wanted = expected(read_bundle(web_bundle), image, wider.boxes)
    np.testing.assert_allclose(wider.points[..., :2], wanted[..., :2], atol=TOLERANCE_PX)
    assert len(page.answer_to(lambda: page.page.keyboard.press("Delete")).boxes) == 1
    whole = page.answer_to(lambda: page.page.keyboard.press("Escape"))
    np.testing.assert_array_equal(whole.boxes, [[0, 0, image.shape[1], image.shape[0]]])


def test_the_download_is_what_predict_writes(web_bundle: Path, page, drawn: list[Path]) -> None:
    frame = page.find(drawn[2])
    with page.page.expect_download() as download:
        page.page.click("#save")
    found = json.loads(Path(download.value.path()).read_text())
    skeleton, extra = read_bundle(web_bundle).spec.skeleton, {"file_name": "003.png"}
    points = frame.points.astype(np.float32)
    wanted = coco_results(points, frame.boxes, image_id=3, category_id=1, skeleton=skeleton, extra=extra)
    assert [each.keys() for each in found] == [each.keys() for each in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one["keypoints"] == pytest.approx(other["keypoints"], abs=1.01e-4)  # px: the last decimal
        assert one["score"] == pytest.approx(other["score"], abs=1e-6)
        assert (one["bbox"], one["image_id"], one["file_name"]) == (other["bbox"], 3, "003.png")


def test_times_and_scores_are_shown(page, drawn: list[Path]) -> None:
    frame = page.find(drawn[0])
    assert "ms a frame" in page.page.inner_text("#times")
    rows = page.page.locator("#scores tbody tr")
    assert rows.count() == 17
    assert rows.first.inner_text().split() == ["nose", f"{frame.points[0, 0, 2]:.2f}"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.jpg", b"", "empty.jpg is empty"),
        ("cut.png", b"\x89PNG\r\n\x1a\n\0\0", "cut.png (image/png) is no picture that this browser can read"),
        ("words.txt", b"words", "words.txt (text/plain) is no picture"),
        ("none.mp4", b"words", "none.mp4 (video/mp4) is no video that this browser can play"),
        ("<b>&.jpg", b"x", "<b>&.jpg (image/jpeg) is no picture"),
    ],
)
def test_a_bad_file_is_answered_in_words_and_the_next_works(name, content, words, page, drawn, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert page.complaint(tmp_path / name).startswith(words)
    assert page.page.is_disabled("#save")
    assert page.find(drawn[0]).points.shape == (1, 17, 3)
    assert not page.is_bad()


def test_a_picture_that_is_too_large_is_answered_in_words(page, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "large.png"), np.zeros((8000, 9000), np.uint8))
    assert page.complaint(tmp_path / "large.png").startswith("large.png has 9000 x 8000 px, expected at most 64 Mi px")


def test_a_camera_that_is_not_there_is_said(page, drawn: list[Path]) -> None:
    page.page.click("#camera")
    deadline = time.monotonic() + 10  # s
    while not page.is_bad() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert page.status().startswith(("No camera was found", "The camera was refused"))
    page.find(drawn[0])


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("site.json", "The page could not start: the server has no site.json (404)"),
        ("fp16.onnx", "The network could not be opened: the server has no fp16.onnx (404)"),
        ("ort/ort-wasm-simd-threaded.wasm", "The network could not be opened"),
        ("worker.js", "The network could not be opened: The network's thread could not be started"),
    ],
)
def test_a_file_that_the_server_lacks_is_said(asked: str, words: str, opened, chromium, address: str) -> None:
    found = chromium.BundlePage(opened.new_page())
    found.page.context.route(f"**/{asked}", lambda route: route.fulfill(status=404))
    with pytest.raises(RuntimeError, match="the page says") as failed:
        found.open(address)
    assert words in str(failed.value)
    found.page.close()


def test_another_choice_of_weights_and_threads_gives_its_own_keypoints(web_bundle: Path, page, drawn) -> None:
    page.find(drawn[1])
    for field, value in (("#weights", "fp32"), ("#threads", "1")):
        frame = page.answer_to(functools.partial(page.page.select_option, field, value))
    wanted = expected(read_bundle(web_bundle), read_image(drawn[1]), frame.boxes, "fp32")
    np.testing.assert_allclose(frame.points[..., :2], wanted[..., :2], atol=TOLERANCE_PX)
    assert "1 thread" in page.page.inner_text("#times")


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("video") / "moving.webm"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"VP80"), 30, (640, 480))
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no WebM")
    scene, _ = draw_scene(np.random.default_rng(3))
    for number in range(60):
        writer.write(np.roll(scene, 4 * number, axis=1)[:480, :512].repeat(2, axis=1)[:, :640])
    writer.release()
    return path


class TestVideo:
    def test_it_is_followed_stopped_and_goes_on(self, page, video: Path) -> None:
        page.find(video)
        page.page.focus("#stage")
        page.page.keyboard.press("b")
        later = page.frame_after(page.seen() + 3)
        assert not np.array_equal(later.boxes, [[160, 60, 480, 420]])  # px: the box that B makes
        wanted = boxes_of(later.points)[0]
        followed = page.frame_after(later.seen).boxes[0]
        assert (followed >= 0).all()
        assert (followed <= [640, 480, 640, 480]).all()
        if page.seen() == later.seen + 1:  # else this test was too slow to see the next frame
            np.testing.assert_allclose(followed, wanted.clip(0, [640, 480, 640, 480]), atol=0.01)
        page.page.click("#pause")
        time.sleep(1)
        stopped = page.seen()
        time.sleep(0.5)
        assert page.seen() <= stopped + 1
        assert page.page.inner_text("#pause") == "Go on"
        page.page.click("#pause")
        page.frame_after(page.seen() + 2)

    @pytest.mark.slow
    @pytest.mark.timeout(150)
    def test_memory_is_flat_over_500_frames(self, page, video: Path) -> None:
        """A frame that was kept would take 1.2 MB: 350 of them 430 MB."""
        first = page.find(video).seen
        page.frame_after(first + 100)
        before, after = (least_memory(page, first + until) for until in (150, 500))
        assert after - before < 60, f"{before:.0f} MiB, then {after:.0f} MiB"


def least_memory(page, until: int) -> float:
    """MiB in the 50 frames before one: between two collections of garbage there is more."""
    page.frame_after(until - 50)
    sizes = []
    while page.frame_after(page.seen()).seen < until:
        sizes.append(page.memory_mib())
    return min(sizes)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_photographs_have_python_s_keypoints_by_the_shipped_weights(
    pose_samples: Path, runtime: Path, chromium, opened, tmp_path: Path
) -> None:
    """Of JPEG files: both sides decode them by libjpeg-turbo."""
    from lehrnet.export.default import default_bundle
    from lehrnet.export.web_graphs import write_page

    bundle = read_bundle(Path(shutil.copytree(default_bundle(), tmp_path / "bundle")))
    write_page(bundle, runtime)
    pictures = sorted((pose_samples / "images").iterdir())[:PHOTOGRAPHS]
    for isolated in (True, False):
        with served(bundle.root, isolated=isolated) as address:
            found = chromium.BundlePage(opened.new_page())
            found.open(address)
            check_same(found, bundle, pictures)
            found.page.close()


def test_no_request_goes_to_another_origin(chromium, page, opened, net_log: Path) -> None:
    """Of the browser's own log, with all that the pages of this file and their threads asked for."""
    opened.close()
    assert chromium.requested(net_log) == ORIGINS

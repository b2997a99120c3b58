"""A bundle's page in the system's own Chromium, driven by Playwright: for the tests and for `studies.browser`.

Nothing is downloaded: Chromium is the distribution's (`apt-get install chromium`), or what LEHRNET_CHROMIUM names.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

try:
    from playwright.sync_api import Browser, Page, sync_playwright  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise ImportError("Playwright is not installed: pip install 'lehrnet[browser]'") from error

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--autoplay-policy=no-user-gesture-required")
OPENING_S, ANSWER_S, POLL_S = 120.0, 60.0, 0.01  # longest waits, and the pause between looks
WATCH = """
window.frames_seen = 0;
document.addEventListener("lehrnet:poses", ({ detail }) => { window.frames_seen++; window.last_frame = detail; });
"""
LAST = """() => window.last_frame && ({ seen: window.frames_seen, ms: window.last_frame.ms,
  frame_ms: window.last_frame.frameMs,
  boxes: window.last_frame.people.map(({ box }) => box),
  points: window.last_frame.people.map(({ points }) => [...points]) })"""


@dataclass(frozen=True)
class Frame:
    """What the page found in one frame."""

    seen: int
    """Number of frames that the page has answered for, with this one."""
    ms: float
    """Of the network, all people together."""
    frame_ms: float
    """From the pixels to the drawing."""
    boxes: NDArray[np.float64]
    """(N, 4) xyxy, px of the picture."""
    points: NDArray[np.float64]
    """(N, K, 3): x and y in px of the picture, and the score."""


def find_chromium() -> str:
    """Path of Chromium; FileNotFoundError where there is none."""
    named = os.environ.get("LEHRNET_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None or not Path(found).is_file():
        raise FileNotFoundError(
            f"no Chromium at {named or ', '.join(NAMES)}: `apt-get install chromium`, or name one in LEHRNET_CHROMIUM"
        )
    return found


@contextmanager
def browser(*flags: str) -> Iterator[Browser]:
    """Chromium without a window; closed at the end."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=find_chromium(), args=[*FLAGS, *flags])
        try:
            yield opened
        finally:
            opened.close()


class BundlePage:
    """A bundle's page that is open in a browser."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.add_init_script(WATCH)

    def open(self, address: str) -> None:
        """Load the page and wait until its network is there; RuntimeError with the page's words if it is not."""
        self.page.goto(address)
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the network is loaded; RuntimeError with the page's words if it cannot be."""
        words = self._wait(lambda: self.status() if not self.status().startswith("Loading") else None, OPENING_S)
        if self.is_bad():
            raise RuntimeError(f"the page says: {words}")

    def status(self) -> str:
        """The sentence above the picture."""
        return self.page.inner_text("#status")

    def is_bad(self) -> bool:
        """Whether that sentence is an error."""
        return "bad" in (self.page.get_attribute("#status", "class") or "")

    def complaint(self, file: Path) -> str:
        """The page's words about a file that it cannot open."""
        self.page.set_input_files("#file", str(file))
        return self._wait(lambda: self.status() if self.is_bad() else None, ANSWER_S)

    def find(self, file: Path) -> Frame:
        """Keypoints of a picture's one person, who fills it."""
        return self.answer_to(lambda: self.page.set_input_files("#file", str(file)))

    def answer_to(self, action: Any) -> Frame:
        """The first frame that the page answers after something was done to it."""
        before = self.seen()
        action()
        return self.frame_after(before)

    def frame_after(self, seen: int) -> Frame:
        """The newest frame, once more than `seen` were answered."""
        found = self._wait(lambda: self.page.evaluate(LAST) if self.seen() > seen else None, ANSWER_S)
        points = np.array(found["points"], np.float64)
        return Frame(
            found["seen"], found["ms"], found["frame_ms"], np.array(found["boxes"]), points.reshape(len(points), -1, 3)
        )

    def seen(self) -> int:
        """Number of frames that the page has answered for."""
        return self.page.evaluate("() => window.frames_seen")

    def memory_mib(self) -> float:
        """Private memory of all of Chromium's processes that run pages.

        What they share is left out: it holds Chromium's own cache of decoded frames, which fills up to its limit.
        """
        session = self.page.context.browser.new_browser_cdp_session()  # pyright: ignore[reportOptionalMemberAccess]
        processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
        session.detach()
        pages = [each["id"] for each in processes if each["type"] == "renderer"]
        facts = (Path(f"/proc/{number}/status").read_text(encoding="ascii").splitlines() for number in pages)
        kib = [int(line.split()[1]) for lines in facts for line in lines if line.startswith("RssAnon:")]
        return sum(kib) / 1024

    def _wait(self, look: Any, seconds: float) -> Any:
        """What `look` gives once it gives something; TimeoutError with the page's words after so many seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = look()
            if found is not None:
                return found
            time.sleep(POLL_S)
        raise TimeoutError(f"the page did not answer within {seconds:g} s; it says {self.status()!r} {self.errors}")


def requested(net_log: Path) -> set[str]:
    """Origins that pages asked for anything, from Chromium's log of all requests (`--log-net-log=FILE`).

    Requests of Chromium itself, such as those for its updates, have no page as their initiator.
    """
    log = json.loads(net_log.read_text(encoding="utf-8"))
    kinds = {log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]}
    requests = (event.get("params", {}) for event in log["events"] if event["type"] in kinds)
    asked = [each for each in requests if str(each.get("initiator", "")).startswith("http")]
    parts = (urlsplit(each["url"]) for each in asked)
    return {f"{part.scheme}://{part.netloc}" for part in parts if part.scheme not in ("blob", "data")}

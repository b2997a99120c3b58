"""Whether a model on Triton answers: one request, since Triton stays "ready" when a Python model's process is gone.

Triton 2.51 does not start that process again; unloading and loading the model does.
"""

import json
import time
import urllib.error
import urllib.request
from typing import Any

from .triton_config import BOXES, FRAME, KEYPOINTS, WARMUP_FRAME

TIMEOUT_S = 10.0
LOADING_S = 120.0
STEP_S = 0.2
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a health check asks its own machine


def check_answers(server: str, model: str, timeout_s: float = TIMEOUT_S) -> float:
    """Ask a model on the server, such as "http://127.0.0.1:8000", for one person on a black frame; the milliseconds.

    RuntimeError with the server's words if it does not answer; ValueError for an address that is none.
    """
    height, width, channels = WARMUP_FRAME
    asked = [
        {"name": FRAME, "shape": [1, *WARMUP_FRAME], "datatype": "UINT8", "data": [0] * (height * width * channels)},
        {"name": BOXES, "shape": [1, 1, 4], "datatype": "FP32", "data": [0, 0, width, height]},
    ]
    started = time.perf_counter()
    answer = _post(server, f"v2/models/{model}/infer", {"inputs": asked}, timeout_s)
    names = [each.get("name") for each in answer.get("outputs", [])]
    if names != [KEYPOINTS]:
        raise RuntimeError(f"{model} on {server} answers {names}, expected [{KEYPOINTS!r}]: it is another model")
    return (time.perf_counter() - started) * 1e3


def load_again(server: str, model: str, timeout_s: float = LOADING_S) -> None:
    """Unload a model and load it, on a server started with --model-control-mode=explicit; returns once it is ready.

    RuntimeError with the server's words if it does not, or not within `timeout_s`.
    """
    _post(server, f"v2/repository/models/{model}/unload", {}, timeout_s)
    end = time.monotonic() + timeout_s
    while True:
        try:
            _post(server, f"v2/repository/models/{model}/load", {}, timeout_s)
            check_answers(server, model)
            return
        except RuntimeError:  # the old one may not be gone yet
            if time.monotonic() > end:
                raise
            time.sleep(STEP_S)


def _post(server: str, path: str, content: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    if not server.startswith(("http://", "https://")):
        raise ValueError(f"the server is {server!r}, expected an address such as http://127.0.0.1:8000")
    request = urllib.request.Request(f"{server.rstrip('/')}/{path}", json.dumps(content).encode())  # noqa: S310 - looked at
    try:
        with DIRECTLY.open(request, timeout=timeout_s) as answer:
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{server} answers {error.code}: {_words(error.read())}") from error
    except (OSError, ValueError) as error:  # no connection, no time, no JSON
        raise RuntimeError(f"{server} does not answer: {error}") from error


def _words(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return answer[:200].decode(errors="replace")

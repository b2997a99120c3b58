"""A client of Triton, run by the environment that has `tritonclient`: requests of a file, answers into another.

    python triton_client.py http|grpc PORT THREADS REQUESTS.npz ANSWERS.npz SECONDS

REQUESTS has arrays frame_0, boxes_0, frame_1, ...; ANSWERS gets keypoints_N, or said_N where the server refused, with
the milliseconds of each and the version of the model that answered. With SECONDS above 0 the requests go round for that
long.
"""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

local = threading.local()


def main(arguments: list[str]) -> None:
    """Send the requests and write the answers."""
    protocol, port, threads, requests, answers, seconds = arguments
    library, found = import_module(f"tritonclient.{protocol}"), {}
    given = np.load(requests)
    count = len(given.files) // 2
    pairs = [(given[f"frame_{index}"], given[f"boxes_{index}"]) for index in range(count)]
    end = time.monotonic() + float(seconds)

    def ask(index: int) -> None:
        if not hasattr(local, "client"):
            local.client = library.InferenceServerClient(f"127.0.0.1:{port}")
        started = time.perf_counter()
        try:
            result = local.client.infer("pose", inputs_of(library, *pairs[index % count]))
            found[f"keypoints_{index}"] = result.as_numpy("keypoints")
            answer = result.get_response()
            found[f"version_{index}"] = int(answer["model_version"] if protocol == "http" else answer.model_version)
        except Exception as error:
            found[f"said_{index}"] = str(error)
        found[f"ms_{index}"] = (time.perf_counter() - started) * 1e3

    def go_round(first: int) -> None:
        index = first
        while time.monotonic() < end:
            ask(index)
            index += int(threads)

    with ThreadPoolExecutor(int(threads)) as pool:
        list(pool.map(go_round, range(int(threads))) if float(seconds) else pool.map(ask, range(count)))
    np.savez(answers, **found)


def inputs_of(library: Any, frame: NDArray[np.uint8], boxes: NDArray[np.float32]) -> list[Any]:
    """A frame and its boxes as the client library sends them."""
    inputs = [
        library.InferInput("frame", [1, *frame.shape], "UINT8"),
        library.InferInput("boxes", [1, *boxes.shape], "FP32"),
    ]
    inputs[0].set_data_from_numpy(frame[None])
    inputs[1].set_data_from_numpy(boxes[None])
    return inputs


if __name__ == "__main__":
    main(sys.argv[1:])

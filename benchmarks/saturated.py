"""Throughput of a machine with several parallel streams, each a thread with its own session."""

import threading
import time
from collections.abc import Sequence

from ..runtime.bundle import Bundle
from ..runtime.estimator import PoseEstimator
from ..runtime.session import Trust, open_artefact
from .latency import picture, read_picture

SECONDS = 3.0


def measure(
    bundle: Bundle,
    artefact: str,
    device: str,
    *,
    people: int,
    streams: Sequence[int],
    seconds: float = SECONDS,
    trust_engine: Trust = False,
) -> dict[str, dict[str, float]]:
    """People per second from encoded images to keypoints, by number of streams; on a CPU each has one thread."""
    if seconds <= 0 or not streams or min(streams) < 1:
        raise ValueError(f"{seconds} s, streams {list(streams)}: expected more than 0 s, and whole numbers from 1")

    def opened() -> PoseEstimator:
        return PoseEstimator.of(
            open_artefact(bundle, artefact, device, threads=1, trust_engine=trust_engine), bundle.spec
        )

    estimators = [opened() for _ in range(max(streams))]
    return {str(count): _rate(estimators[:count], people, seconds) for count in streams}


def stream_counts(cores: int) -> list[int]:
    """1, 2, 4, ... and the number of cores."""
    return sorted({min(1 << power, cores) for power in range(cores.bit_length() + 1)})


def describe(facts: dict[str, dict[str, float]]) -> str:
    """The figures as text."""
    rates = ", ".join(f"{row['people_per_s']:.1f} from {count}" for count, row in facts.items())
    return f"people a second by streams, one thread each: {rates}"


def _rate(estimators: Sequence[PoseEstimator], people: int, seconds: float) -> dict[str, float]:
    encoded, boxes = picture(people)
    counts, failures = [0] * len(estimators), list[BaseException]()
    start, stop = threading.Barrier(len(estimators) + 1), threading.Event()

    def work(index: int) -> None:
        try:
            estimators[index](read_picture(encoded), boxes)  # warm-up: the first run allocates
            start.wait()
            while not stop.is_set():
                estimators[index](read_picture(encoded), boxes)
                counts[index] += people
        except BaseException as error:  # re-raised in the caller's thread
            failures.append(error)
            start.abort()

    threads = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(len(estimators))]
    for thread in threads:
        thread.start()
    started = time.perf_counter()
    try:
        start.wait()
        started = time.perf_counter()
        time.sleep(seconds)
    except threading.BrokenBarrierError:
        pass  # the cause is in `failures`
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if failures:
        raise next((error for error in failures if not isinstance(error, threading.BrokenBarrierError)), failures[0])
    taken = time.perf_counter() - started
    return {"people_per_s": round(sum(counts) / taken, 2), "seconds": round(taken, 2)}

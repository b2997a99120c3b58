"""1080p frames in host memory to keypoints in host memory, by the GPU pipeline, beside the network alone."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ....model.checkpoint import load_checkpoint
from ....pose.spec import PoseSpec
from ....runtime.pytorch.forms import TorchForm
from .job import Job
from .place import Place, place_of, random_checkpoint, spec_of

FRAME = (1080, 1920)
PEOPLE_A_FRAME = 8
FRAMES_A_BATCH = (1, 4, 8)
Item = tuple[Any, NDArray[np.float64]]
Run = Callable[[Iterable[Sequence[Item]]], Iterator[NDArray[np.float32]]]
"""Keypoints (n, K, 3) of each batch of frames with boxes, as `CudaPipeline.run` yields them."""


@dataclass(frozen=True)
class Subject:
    """What is measured."""

    run: Run
    alone: Callable[[int], Callable[[], object]]
    """The network alone: for a number of people, a call that runs it once."""
    spec: PoseSpec


def work(job: Job) -> None:
    """Keep people a second, latency, and the share of the network's own rate, by frames in a batch."""
    place = place_of(job)
    path = random_checkpoint(job, "lehrnet_w32")
    measure(job, place, Subject(_host_run(path) if job.stand_in else _gpu_run(path), _alone(place, path), spec_of(job)))


def measure(job: Job, place: Place, subject: Subject) -> None:
    """Measure batch after batch: first one at a time, then as many in flight as the pipeline takes."""
    frame = (90, 120) if job.stand_in else FRAME
    batches = 2 if job.stand_in else 60
    rng, by_frames = np.random.default_rng(0), {}
    for count in (1,) if job.stand_in else FRAMES_A_BATCH:
        items = [_item(rng, frame) for _ in range(count)]
        people = count * PEOPLE_A_FRAME
        list(subject.run([items] * 4))  # graphs are captured, buffers grow
        latencies = [_seconds(lambda items=items: list(subject.run([items]))) for _ in range(batches)]
        seconds = _seconds(lambda items=items: list(subject.run([items] * batches)))
        network = subject.alone(people)
        with place.current(), torch.inference_mode():
            alone = float(np.median([place.timed(network) for _ in range(batches + 3)][3:]))
        rate, rate_alone = people * batches / seconds, 1e3 * people / alone
        by_frames[str(count)] = {
            "people": people,
            "people_per_s": round(rate, 1),
            "latency_ms": {f"p{share}": round(1e3 * float(np.percentile(latencies, share)), 3) for share in (50, 90)},
            "network_alone_ms": round(alone, 3),
            "network_alone_people_per_s": round(rate_alone, 1),
            "share_of_network": round(rate / rate_alone, 3),
        }
        job.keep(by_frames=by_frames, frame=list(frame), people_a_frame=PEOPLE_A_FRAME, batches=batches)


def _item(rng: np.random.Generator, frame: tuple[int, int]) -> Item:
    """A frame of noise, which costs a crop what a photograph does, with boxes of about half its height."""
    height, width = frame
    size = np.array((0.2 * width, 0.5 * height))
    corners = rng.uniform((0, 0), (0.75 * width, 0.45 * height), (PEOPLE_A_FRAME, 2))
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8), np.concatenate((corners, corners + size), axis=1)


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _alone(place: Place, path: Path) -> Callable[[int], Callable[[], object]]:
    form = TorchForm(half=place.number is torch.float16)
    return lambda people: place.form(path, form, people)


def _gpu_run(path: Path) -> Run:
    """The pipeline with a session of its own; its kernels must be there or compile."""
    from ....runtime.cuda.driver import describe_gpu  # noqa: PLC0415 - needs cuda-python
    from ....runtime.cuda.launch import Kernels, kernel_image  # noqa: PLC0415
    from ....runtime.cuda.pipeline import CudaPipeline  # noqa: PLC0415
    from ....runtime.pytorch.graph_session import TorchGraphSession  # noqa: PLC0415

    session = TorchGraphSession(path, "cuda", form=TorchForm())
    return CudaPipeline(session, session.spec, Kernels(kernel_image(describe_gpu(session.gpu)))).run


def _host_run(path: Path) -> Run:
    """The same steps on the CPU, one batch after another."""
    from ....pose.crop import crop_people  # noqa: PLC0415 - needs OpenCV
    from ....pose.points import find_points  # noqa: PLC0415

    checkpoint = load_checkpoint(path)

    def heatmaps(crops: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return checkpoint.network(torch.from_numpy(crops)).numpy()

    def run(batches: Iterable[Sequence[Item]]) -> Iterator[NDArray[np.float32]]:
        for items in batches:
            cropped = [crop_people(image, boxes, checkpoint.spec) for image, boxes in items]
            crops = np.concatenate([crops for crops, _ in cropped])
            affines = np.concatenate([affines for _, affines in cropped])
            yield find_points(heatmaps, crops, affines, checkpoint.spec)

    return run

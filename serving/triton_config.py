"""`config.pbtxt`: what Triton is told of a model, as text that an operator can read and change."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..parsing import printable
from ..runtime.bundle import Artefact, Bundle

Backend = Literal["python", "onnxruntime", "tensorrt"]
FRAME, BOXES, KEYPOINTS = "frame", "boxes", "keypoints"
"""The tensors' names, which are those of the whole graph, too."""
SHA256, ARTEFACT = "bundle_sha256.", "artefact."
"""Parameters of each version: the SHA-256 of its bundle's manifest, and which artefact runs."""
DEVICE, THREADS, MAX_PEOPLE, LOG_JSON = "device", "threads", "max_people", "log_json"
WARMUP_FRAME = (64, 48, 3)
WARMUP_BOXES = "one_person"
"""File with the warm-up's box: zeros would be a broken one."""


@dataclass(frozen=True)
class Serving:
    """How a model is served."""

    name: str = "pose"
    backend: Backend = "python"
    artefact: str = "auto"
    device: str = "cpu"
    instances: int = 1
    threads: int | None = None
    """CPU threads of an instance; None: the machine's cores, divided among the instances."""
    max_batch: int = 16
    """Largest number of frames that are joined."""
    delay_ms: float = 2.0
    """How long a frame waits for others to be joined with."""
    queue: int = 64
    """Largest number of waiting frames; the next one is rejected."""
    deadline_ms: float = 500.0
    """A frame that waited for longer is rejected, not run; a client may ask for less."""
    max_people: int = 64
    """Largest number of people on a frame."""
    log_json: bool = False
    """Whether one line of JSON is printed for each batch."""

    def __post_init__(self) -> None:
        if not self.name or printable(self.name) != self.name or set(self.name) & set('/\\"'):
            raise ValueError(f"name is {self.name!r}, expected a folder's name without slashes and quotes")
        for name in ("instances", "max_batch", "queue", "max_people"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads is {self.threads}, expected at least 1")
        if self.device not in ("cpu", "cuda"):
            raise ValueError(f"device is {self.device!r}, expected cpu or cuda; Triton deals GPUs out to instances")
        if self.delay_ms < 0 or self.deadline_ms <= self.delay_ms:
            raise ValueError(
                f"a frame waits {self.delay_ms:g} ms for others and at most {self.deadline_ms:g} ms in all, expected "
                "at least 0 and more than that"
            )


def python_config(bundle: Bundle, serving: Serving, versions: Mapping[str, str]) -> str:
    """The configuration of the Python model: ragged frames and boxes, joined by Triton's dynamic batching.

    `versions` are the parameters of all versions, by key.
    """
    height, width, channels = WARMUP_FRAME
    return f"""\
{_head(bundle, serving)}
backend: "python"
max_batch_size: {serving.max_batch}

# A request is a frame of any size, BGR, and the boxes of its people: x1, y1, x2, y2 in px of the frame; N may be 0.
# Frames of different sizes and numbers of people are joined into one batch (ragged).
input [
  {{ name: "{FRAME}" data_type: TYPE_UINT8 dims: [ -1, -1, 3 ] allow_ragged_batch: true }},
  {{ name: "{BOXES}" data_type: TYPE_FP32 dims: [ -1, 4 ] allow_ragged_batch: true }}
]
# For each person {len(bundle.spec.skeleton)} joints: x and y in px of the frame, and the score.
output [ {{ name: "{KEYPOINTS}" data_type: TYPE_FP32 dims: [ -1, {len(bundle.spec.skeleton)}, 3 ] }} ]

{_batching(serving)}
{_instances(serving)}

# The first request is not slower than the others.
model_warmup [ {{
  name: "one person"
  batch_size: 1
  inputs {{ key: "{FRAME}" value {{ data_type: TYPE_UINT8 dims: [ {height}, {width}, {channels} ] zero_data: true }} }}
  inputs {{ key: "{BOXES}" value {{ data_type: TYPE_FP32 dims: [ 1, 4 ] input_data_file: "{WARMUP_BOXES}" }} }}
}} ]

# Of each version the SHA-256 of its bundle's manifest, which holds those of all its files: what differs is not loaded.
{_parameters({**versions, **_settings(serving)})}
"""


def onnxruntime_config(bundle: Bundle, artefact: Artefact, serving: Serving, versions: Mapping[str, str]) -> str:
    """The configuration of a graph for Triton's ONNX Runtime: the whole graph, or one of crops in batches."""
    threads = {} if serving.threads is None else {"intra_op_thread_count": str(serving.threads)}
    return f"""\
{_head(bundle, serving)}
backend: "onnxruntime"
{_tensors(bundle, artefact, serving)}
{_instances(serving)}

{_parameters({**versions, **threads})}
"""


def tensorrt_config(bundle: Bundle, artefact: Artefact, serving: Serving, versions: Mapping[str, str]) -> str:
    """The configuration of an engine for Triton's TensorRT, with all of its optimization profiles."""
    profiles = ", ".join(f'"{index}"' for index in range(len(artefact.batches) or 1))
    return f"""\
{_head(bundle, serving)}
platform: "tensorrt_plan"
{_tensors(bundle, artefact, serving)}
instance_group [ {{ kind: KIND_GPU count: {serving.instances} profile: [ {profiles} ] }} ]
optimization {{ cuda {{ graphs: true }} }}

{_parameters(versions)}
"""


def _head(bundle: Bundle, serving: Serving) -> str:
    trained = "" if bundle.trained else "\n# RANDOM WEIGHTS: its keypoints mean nothing."
    return f"""\
# Written by `lehrnet serve triton`; docs/serving.md has clients. The newest version is served.
# Network: {_one_line(bundle.variant)}, joints of {_one_line(bundle.spec.skeleton.name)}.{trained}
name: {json.dumps(serving.name)}"""


def _tensors(bundle: Bundle, artefact: Artefact, serving: Serving) -> str:
    """Inputs and outputs of a graph or an engine."""
    joints, (height, width) = len(bundle.spec.skeleton), bundle.spec.input_size
    if artefact.output == "whole":
        return f"""\
max_batch_size: 0
# A frame of any size, BGR, and the boxes of its people, xyxy in px of the frame.
input [
  {{ name: "{FRAME}" data_type: TYPE_UINT8 dims: [ -1, -1, 3 ] }},
  {{ name: "{BOXES}" data_type: TYPE_FP32 dims: [ -1, 4 ] }}
]
output [ {{ name: "{KEYPOINTS}" data_type: TYPE_FP32 dims: [ -1, {joints}, 3 ] }} ]"""
    crops, heatmaps = map(json.dumps, bundle.names)
    rows, columns = bundle.spec.grid
    name, dims = f'"{KEYPOINTS}"', f"{joints}, 3"
    if artefact.output == "heatmaps":
        name, dims = heatmaps, f"{joints}, {rows}, {columns}"
    largest = min(artefact.batch[1] or serving.max_batch, serving.max_batch)
    return f"""\
max_batch_size: {largest}
# Crops of people, RGB, normalized as pose.mean and pose.std of bundle.json say.
input [ {{ name: {crops} data_type: TYPE_FP32 dims: [ 3, {height}, {width} ] }} ]
output [ {{ name: {name} data_type: TYPE_FP32 dims: [ {dims} ] }} ]

{_batching(serving)}"""


def _batching(serving: Serving) -> str:
    delay, deadline = round(serving.delay_ms * 1000), round(serving.deadline_ms * 1000)
    return f"""\
# Late frames are rejected, not queued: {serving.queue} wait at most, none for longer than {serving.deadline_ms:g} ms.
dynamic_batching {{
  max_queue_delay_microseconds: {delay}
  default_queue_policy {{
    timeout_action: REJECT
    default_timeout_microseconds: {deadline}
    allow_timeout_override: true
    max_queue_size: {serving.queue}
  }}
}}"""


def _instances(serving: Serving) -> str:
    kind = "KIND_CPU" if serving.device == "cpu" else "KIND_GPU"
    return f"instance_group [ {{ kind: {kind} count: {serving.instances} }} ]"


def _settings(serving: Serving) -> dict[str, str]:
    """What the Python model is told."""
    return {
        DEVICE: serving.device,
        MAX_PEOPLE: str(serving.max_people),
        **({} if serving.threads is None else {THREADS: str(serving.threads)}),
        **({LOG_JSON: "true"} if serving.log_json else {}),
    }


def _parameters(values: Mapping[str, str]) -> str:
    return "\n".join(
        f"parameters {{ key: {json.dumps(key)} value {{ string_value: {json.dumps(value)} }} }}"
        for key, value in values.items()
    )


def _one_line(text: str) -> str:
    """A text for a comment, which a line end would leave."""
    return " ".join(text.split())

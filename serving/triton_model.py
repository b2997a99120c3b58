"""The model that Triton's Python backend runs: a bundle's estimator, and the requests of a batch joined into one run.

Triton imports this through a version's `model.py`, in a process of its own that has `triton_python_backend_utils`.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import triton_python_backend_utils as triton  # pyright: ignore[reportMissingImports]

from ..runtime.bundle import manifest_sha256
from ..runtime.estimator import PoseEstimator
from .answers import Answer, Refusal, Request, answer
from .log_lines import log_line
from .triton import COPY, TRUSTED
from .triton_config import ARTEFACT, BOXES, DEVICE, FRAME, KEYPOINTS, LOG_JSON, MAX_PEOPLE, SHA256, THREADS


class TritonPythonModel:
    """One instance of the model; Triton makes it, and calls it from one thread."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the version's bundle; ValueError names a file that differs from what was written."""
        config = json.loads(args["model_config"])
        settings = {key: value["string_value"] for key, value in config["parameters"].items()}
        self.name, self.version = args["model_name"], args["model_version"]
        self.max_people, self.log_json = int(settings[MAX_PEOPLE]), settings.get(LOG_JSON) == "true"
        root = Path(args["model_repository"]) / self.version / COPY
        _check_unchanged(root, settings.get(f"{SHA256}{self.version}"))
        device = settings[DEVICE]
        if device != "cpu":
            device = f"{device}:{args['model_instance_device_id']}"
        self.estimator = PoseEstimator.open(
            root,
            settings[f"{ARTEFACT}{self.version}"],
            device,
            threads=threads_of(settings, config["instance_group"]),
            trust_engine=settings.get(f"{TRUSTED}{self.version}", False),
        )
        self.joints = len(self.estimator.spec.skeleton)
        session = self.estimator.session
        triton.Logger.log_info(f"{self.name} {self.version} runs on {session.device} by {session.backend}")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer the requests of one batch, each with its keypoints or with a sentence."""
        started = time.perf_counter()
        asked = [Request(_input(each, FRAME), _input(each, BOXES)) for each in requests]
        answers = answer(self.estimator, asked, self.joints, self.max_people)
        if self.log_json:
            print(log_line(self._facts(asked, answers, time.perf_counter() - started)), flush=True)  # noqa: T201
        return [_response(each) for each in answers]

    def finalize(self) -> None:
        """Free the network's memory."""
        self.estimator.close()

    def _facts(self, asked: Sequence[Request], answers: Sequence[Answer], seconds: float) -> dict[str, Any]:
        """What the log says of a batch."""
        return {
            "model": self.name,
            "version": int(self.version),
            "requests": len(asked),
            "refused": sum(isinstance(each, Refusal) for each in answers),
            "people": sum(each.shape[0] * each.shape[1] for each in answers if not isinstance(each, Refusal)),
            "ms": round(seconds * 1e3, 2),
        }


def threads_of(settings: Mapping[str, str], groups: Sequence[Mapping[str, Any]]) -> int | None:
    """CPU threads of an instance: those asked for, or its share of the machine's; None, for one, is all."""
    if THREADS in settings:
        return int(settings[THREADS])
    instances = sum(int(group["count"]) for group in groups)
    return None if instances == 1 else max((os.cpu_count() or 1) // instances, 1)


def _check_unchanged(root: Path, written: str | None) -> None:
    """Raise ValueError unless a bundle's manifest is the one that was written; it holds the other files' hashes."""
    found = manifest_sha256(root)
    if found != written:
        raise ValueError(
            f"{root / 'bundle.json'} has SHA-256 {found[:12]}..., but config.pbtxt says {str(written)[:12]}...: the "
            "bundle was changed after it was written; write the repository again by `lehrnet serve triton`"
        )


def _input(request: Any, name: str) -> Any:
    return triton.get_input_tensor_by_name(request, name).as_numpy()


def _response(found: Answer) -> Any:
    if isinstance(found, Refusal):
        code = triton.TritonError.INTERNAL if found.ours else triton.TritonError.INVALID_ARG
        return triton.InferenceResponse(error=triton.TritonError(found.reason, code))
    return triton.InferenceResponse([triton.Tensor(KEYPOINTS, found)])

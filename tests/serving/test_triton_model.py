"""The Python model over a stand-in for Triton's module; `test_on_triton` has the real one."""

import importlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lehrnet.runtime import PoseEstimator
from lehrnet.serving.triton import read_parameters, write_repository
from lehrnet.serving.triton_config import Serving


@dataclass
class TritonError:
    words: str
    code: int
    INVALID_ARG = 3
    INTERNAL = 1


@dataclass
class Response:
    tensors: list[Any] = field(default_factory=list)
    error: TritonError | None = None


class StandIn(ModuleType):
    """What the model uses of `triton_python_backend_utils`."""

    TritonError, InferenceResponse = TritonError, Response
    Tensor = staticmethod(lambda name, array: (name, array))
    Logger = SimpleNamespace(log_info=lambda _: None)

    @staticmethod
    def get_input_tensor_by_name(request: dict[str, Any], name: str) -> Any:
        return SimpleNamespace(as_numpy=lambda: request[name])


@pytest.fixture
def model_of(monkeypatch, tiny_bundle: Path, tmp_path: Path):
    """Makes a model of a repository with the tiny network."""
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", StandIn("triton_python_backend_utils"))
    monkeypatch.delitem(sys.modules, "lehrnet.serving.triton_model", raising=False)
    module = importlib.import_module("lehrnet.serving.triton_model")

    def make(**settings: Any) -> Any:
        written = write_repository(tiny_bundle, tmp_path / "repository", Serving(**settings))
        parameters = read_parameters((written.model / "config.pbtxt").read_text())
        config = {
            "parameters": {key: {"string_value": value} for key, value in parameters.items()},
            "instance_group": [{"count": 1}],
        }
        model = module.TritonPythonModel()
        model.initialize(
            {
                "model_config": json.dumps(config),
                "model_name": "pose",
                "model_version": "1",
                "model_repository": str(written.model),
                "model_instance_device_id": "0",
            }
        )
        return model

    yield make
    monkeypatch.delitem(sys.modules, "lehrnet.serving.triton_model", raising=False)


def test_a_batch_is_answered_and_logged(model_of, image, tiny_bundle: Path, capsys) -> None:
    model = model_of(log_json=True)
    good = {"frame": image[None], "boxes": np.array([[[5, 5, 50, 90]]], np.float32)}
    bad = {"frame": image[None], "boxes": np.array([[[5, 5, 5, 90]]], np.float32)}
    first, second = model.execute([good, bad])
    poses = PoseEstimator.open(tiny_bundle, device="cpu")(image, [[5, 5, 50, 90]])
    ((name, found),) = first.tensors
    assert name == "keypoints"
    np.testing.assert_allclose(found[0, ..., :2], poses.xy, atol=1e-4)
    assert second.error.code == TritonError.INVALID_ARG
    assert "box 0 is [5.0, 5.0, 5.0, 90.0]" in second.error.words
    line = json.loads(capsys.readouterr().out)
    assert (line["requests"], line["refused"], line["people"], line["version"]) == (2, 1, 1, 1)
    model.finalize()


def test_a_bundle_that_was_changed_is_refused(model_of, tmp_path: Path) -> None:
    model_of()
    manifest = tmp_path / "repository/pose/1/bundle/bundle.json"
    manifest.write_text(manifest.read_text().replace("tiny", "tidy"))
    with pytest.raises(ValueError, match=r"bundle\.json has SHA-256 .* was changed after it was written"):
        model_of()

"""Accuracy of a quantized graph: its keypoints against those of the FP32 graph and against labels."""

import tempfile
from pathlib import Path

import onnx
from onnx import ModelProto

from ..pose.drift import Comparison, Drift
from ..pose.spec import PoseSpec
from ..runtime.session import Session, open_session
from .samples import Sample

BATCH = 16


class Judge:
    """Judged people and their FP32 heatmaps, in memory; `judge(model)` returns the drift of a graph."""

    def __init__(self, sample: Sample, spec: PoseSpec, fp32: Path) -> None:
        self.spec, self.labelled = spec, sample.labelled
        session = open_session(fp32, "cpu")
        self.batches = list(sample.batches(spec, BATCH))
        self._expected = [session.run(crops) for crops, _, _ in self.batches]

    def __call__(self, model: ModelProto, batches: int | None = None) -> Drift:
        """Run a graph over all people, or over the first `batches` batches, by ONNX Runtime on the CPU."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "judged.onnx"
            onnx.save(model, str(path))
            session = open_session(path, "cpu")
        return self.drift_of(session, batches)

    def drift_of(self, session: Session, batches: int | None = None) -> Drift:
        """Likewise of a network in any form."""
        comparison = Comparison(self.spec)
        for batch, expected in zip(self.batches[:batches], self._expected[:batches], strict=True):
            comparison.update(expected, session.run(batch[0]), batch)
        return comparison.drift()

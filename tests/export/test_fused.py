"""The graph for TensorRT's plugin, run by ONNX's reference with the operator's definition in PyTorch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxsim")
from onnx.reference import ReferenceEvaluator  # noqa: E402
from onnx.reference.op_run import OpRun  # noqa: E402

from lehrnet.export import export_bundle  # noqa: E402
from lehrnet.export.fused import DOMAIN  # noqa: E402
from lehrnet.runtime.backends.onnxruntime import OnnxSession  # noqa: E402
from lehrnet.runtime.pytorch.operators import ema  # noqa: E402


class EMA(OpRun):
    op_domain = DOMAIN

    def _run(self, maps: Any, shortcut: Any, *weights: Any, groups: int, epsilon: float, **_: Any) -> tuple[Any]:
        tensors = [torch.from_numpy(np.array(weight, np.float32)) for weight in weights]
        return (ema(torch.from_numpy(maps), torch.from_numpy(shortcut), tensors, groups, epsilon).numpy(),)


def test_the_graph_with_ema_as_a_plugin_is_fp16_s_network(tiny_checkpoint, tmp_path: Path) -> None:
    bundle = export_bundle(tiny_checkpoint, tmp_path / "bundle", precisions=["fp16", "fp16_ema"])
    model = onnx.load(str(bundle.path("fp16_ema")))
    assert sum(node.op_type == "EMA" for node in model.graph.node) > 0
    assert len(model.graph.node) < bundle.artefacts["fp16"].measured["nodes"]
    crops = np.random.default_rng(0).standard_normal((3, 3, *bundle.spec.input_size), dtype=np.float32)
    reference = ReferenceEvaluator(model, new_ops=[EMA])
    (found,) = map(np.asarray, reference.run(None, {bundle.names[0]: crops}))  # pyright: ignore[reportArgumentType]
    wanted, half = (OnnxSession(bundle.path(name), "cpu").run(crops) for name in ("fp32", "fp16"))
    assert np.abs(found - wanted).max() < 2 * np.abs(half - wanted).max() + 1e-3 * np.ptp(wanted)

"""From a network to a simplified ONNX graph with a dynamic batch."""

import logging
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from ..model.forms import LConvForm, deploy
from ..model.network import PoseNetwork
from ..runtime.bundle import INPUT_NAME, OUTPUT_NAME

try:
    import onnx
    import onnxsim
except ImportError as error:
    raise ImportError("exporting needs onnx and onnxsim: pip install 'lehrnet[export]'") from error

log = logging.getLogger(__name__)

OPSET = 17  # read by TensorRT 8.6 and later and by ONNX Runtime 1.13 and later


def export_network(
    network: PoseNetwork, input_size: tuple[int, int], path: Path, lconv: LConvForm = "pair"
) -> onnx.ModelProto:
    """Write the deployed form of `network` for crops of `input_size` (height, width)."""
    return export_module(deploy(network, input_size, lconv), input_size, path)


def export_module(module: nn.Module, input_size: tuple[int, int], path: Path) -> onnx.ModelProto:
    """Trace a module, simplify its graph, check it and write it.

    `crops` (N, 3, H, W) to `heatmaps` (N, K, H/4, W/4), N free; nodes are named by their module's path.
    """
    example = torch.zeros(2, 3, *input_size)
    with warnings.catch_warnings():
        # Tracing is deprecated, but takes seconds where the dynamo exporter takes minutes (docs/decisions/0003).
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # pyright: ignore[reportPrivateImportUsage]
        warnings.filterwarnings("ignore", message="ONNX export mode is set to TrainingMode.EVAL")  # instance_norm
        torch.onnx.export(
            module.eval(),
            (example,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_axes={INPUT_NAME: {0: "batch"}, OUTPUT_NAME: {0: "batch"}},
        )
    traced = onnx.load(str(path))
    simplified, same = onnxsim.simplify(traced)
    if not same:
        raise RuntimeError("onnxsim changed what the graph computes; please report this with the network's name")
    onnx.checker.check_model(simplified, full_check=True)
    onnx.save(simplified, str(path))
    log.info("%s: %d nodes, %d as traced", path.name, len(simplified.graph.node), len(traced.graph.node))
    return simplified


def tool_versions() -> Mapping[str, str]:
    """The versions of what writes a graph, for the bundle."""
    return {name: version(name) for name in ("lehrnet", "torch", "onnx", "onnxsim")}

"""Export of a network to a simplified ONNX graph with a dynamic batch."""

import logging
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from .. import __version__
from ..model.forms import LConvForm, deploy
from ..model.network import PoseNetwork
from ..runtime.bundle import INPUT_NAME, OUTPUT_NAME

try:
    import onnx
    import onnxsim
except ImportError as error:
    raise ImportError("exporting needs onnx and onnxsim: pip install 'lehrnet[export]'") from error

log = logging.getLogger(__name__)

FreeSides = Mapping[str, Mapping[int, str]]
"""Dynamic axes: by tensor name, the name of each dynamic axis."""

OPSET = 19  # the first with Q/DQ on FP16; supported by TensorRT 10 and ONNX Runtime 1.15


def export_network(
    network: PoseNetwork,
    input_size: tuple[int, int],
    path: Path,
    lconv: LConvForm = "pair",
    dense_from: int | None = None,
) -> onnx.ModelProto:
    """Write the deployed form of `network` for crops of `input_size` (height, width) to an ONNX file."""
    return export_module(deploy(network, input_size, lconv, dense_from), input_size, path)


def export_module(module: nn.Module, input_size: tuple[int, int], path: Path) -> onnx.ModelProto:
    """Trace a module from crops to heatmaps, simplify its graph, check it and write it.

    Input `crops` (N, 3, H, W), output `heatmaps` (N, K, H/4, W/4), N dynamic; nodes are named by their module's path.
    """
    example = torch.zeros(2, 3, *input_size)
    return trace(module, (example,), path, {INPUT_NAME: {0: "batch"}}, {OUTPUT_NAME: {0: "batch"}})


def trace(
    module: nn.Module, example: tuple[torch.Tensor, ...], path: Path, inputs: FreeSides, outputs: FreeSides
) -> onnx.ModelProto:
    """Trace a module on an example, simplify its graph, check it and write it.

    `inputs` and `outputs` give the tensors' names and their dynamic axes.
    """
    with warnings.catch_warnings():
        # Tracing is deprecated, but takes seconds where the dynamo exporter takes minutes (docs/decisions/0003).
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # pyright: ignore[reportPrivateImportUsage]
        warnings.filterwarnings("ignore", message="ONNX export mode is set to TrainingMode.EVAL")  # instance_norm
        torch.onnx.export(
            module.eval(),
            example,
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={**inputs, **outputs},
        )
    traced = onnx.load(str(path))
    simplified, same = onnxsim.simplify(traced)
    if not same:
        raise RuntimeError("onnxsim changed what the graph computes; please report this with the network's name")
    onnx.checker.check_model(simplified, full_check=True)
    onnx.save(simplified, str(path))
    log.info("%s: %d nodes, %d as traced", path.name, len(simplified.graph.node), len(traced.graph.node))
    return simplified


def opset(path: Path) -> int:
    """The opset of an ONNX file."""
    return onnx.load(str(path)).opset_import[0].version


def tool_versions() -> Mapping[str, str]:
    """Versions of the tools that write a graph, for the manifest."""
    return {"lehrnet": __version__, **{name: version(name) for name in ("torch", "onnx", "onnxsim")}}

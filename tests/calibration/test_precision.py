import numpy as np
import onnx
import pytest

pytest.importorskip("onnxsim")

from lehrnet.calibration.graph import Graph
from lehrnet.calibration.precision import careful_islands, check_overflow, fp32_islands, typed


def types(model) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    return {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}


def test_fp16_stands_in_the_graph_and_its_ends_stay_fp32(graph, judge) -> None:
    model = typed(graph, "fp16", careful_islands(graph))
    onnx.checker.check_model(model, full_check=True)
    ends = [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)]
    assert ends == [onnx.TensorProto.FLOAT] * 2
    assert onnx.TensorProto.FLOAT16 in types(model).values()
    assert {each.data_type for each in model.graph.initializer if each.name.endswith("conv.weight")} == {
        onnx.TensorProto.FLOAT16
    }
    drift = judge(model)
    assert drift.heatmap_max < 0.02 * drift.heatmap_range


def test_an_island_computes_in_fp32(graph) -> None:
    islands = careful_islands(graph)
    model = typed(graph, "fp16", islands)
    found = types(model)
    for node in model.graph.node:
        if node.name in islands:
            assert {found[name] for name in node.output if name in found} == {onnx.TensorProto.FLOAT}


def test_islands_are_found_by_the_largest_values(graph) -> None:
    small = {name: 1e-3 for node in graph.nodes for name in node.output}
    assert fp32_islands(graph, small) == set()
    norm = next(node for node in graph.nodes if node.op_type == "InstanceNormalization")
    assert norm.name in fp32_islands(graph, {**small, norm.input[0]: 100.0})  # its sum of squares
    conv = next(node for node in graph.nodes if node.op_type == "Conv")
    assert conv.name in fp32_islands(graph, {**small, conv.output[0]: 20_000.0})


def test_an_overflow_names_its_node(graph) -> None:
    model = typed(graph, "fp16")
    for tensor in model.graph.initializer:
        if tensor.name == "stem.first.weight":
            tensor.raw_data = np.full(tuple(tensor.dims), 60_000, np.float16).tobytes()
    with pytest.raises(ValueError, match="/stem/first/Conv"):
        check_overflow(model, np.ones((1, 3, 64, 64), np.float32))


def test_bf16_is_valid_from_opset_22_on(graph) -> None:
    model = typed(graph, "bf16")
    model.opset_import[0].version = 22
    onnx.checker.check_model(model, full_check=True)


def test_a_constant_too_large_for_fp16_is_named(graph) -> None:
    big = Graph(graph.model)
    big.constants["head.bias"].CopyFrom(onnx.numpy_helper.from_array(np.full(17, 1e6, np.float32), "head.bias"))
    with pytest.raises(ValueError, match="head.bias holds 1e\\+06"):
        typed(big, "fp16")


@pytest.mark.parametrize(("precision", "islands", "reason"), [("fp8", (), "fp8"), ("fp16", ("nobody",), "'nobody'")])
def test_what_is_not_there_is_named(graph, precision, islands, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        typed(graph, precision, islands)

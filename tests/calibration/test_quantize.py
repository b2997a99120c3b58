import numpy as np
import onnx
import pytest

pytest.importorskip("onnxsim")

from lehrnet.calibration.graph import Graph
from lehrnet.calibration.placement import place
from lehrnet.calibration.precision import typed
from lehrnet.calibration.quantize import CPU, TENSORRT, quantize, quantize_weight
from lehrnet.calibration.rules import broken_rules
from lehrnet.calibration.units import quantizable_units, total_macs


@pytest.fixture(scope="module")
def int8(graph, ranges, every_conv):
    return quantize(graph, every_conv, ranges.thresholds("mse"), ranges.non_negative, TENSORRT)


def test_units_speak_of_the_network_and_leave_attention_alone(graph) -> None:
    units = quantizable_units(graph)
    names = [unit.name for unit in units]
    assert names[0] == "stem"
    assert names[-1] == "head"
    assert {"stage1.0", "transition1", "stage3.exchanges.0.branches.2", "stage4.exchanges.0.paths"} <= set(names)
    assert not any("attention" in conv for unit in units for conv in unit.convs)
    assert 0.9 < sum(unit.macs for unit in units) / total_macs(graph) < 1


def test_weights_round_to_the_nearest_step_of_their_channel() -> None:
    weight = np.random.default_rng(0).standard_normal((5, 3, 3, 3))
    whole, scales = quantize_weight(weight)
    assert whole.dtype == np.int8
    assert np.abs(whole).max() == 127
    assert (np.abs(whole * scales[:, None, None, None] - weight) <= 0.51 * scales[:, None, None, None]).all()


def test_what_a_partial_conv_moves_shares_one_scale(graph, every_conv) -> None:
    groups = {tensor: group for group in place(graph, every_conv).groups for tensor in group}
    concats = [node for node in graph.nodes if node.op_type == "Concat" and node.output[0] in groups]
    assert len(concats) > 10
    for node in concats:
        assert {groups[name] for name in (*node.input, *node.output)} == {groups[node.output[0]]}


def test_tensorrt_takes_it(int8) -> None:
    onnx.checker.check_model(int8, full_check=True)
    assert broken_rules(int8) == []


def test_weights_are_stored_once_and_in_eight_bits(int8, graph, every_conv) -> None:
    stored = {tensor.name: tensor for tensor in int8.graph.initializer}
    for node in graph.nodes:
        if node.name in every_conv:
            assert node.input[1] not in stored
            assert stored[f"{node.input[1]}/int8"].data_type == onnx.TensorProto.INT8


def test_biases_stay_in_float(int8, every_conv) -> None:
    stored = {tensor.name: tensor for tensor in int8.graph.initializer}
    biases = [stored[node.input[2]] for node in int8.graph.node if node.name in every_conv and len(node.input) > 2]
    assert {bias.data_type for bias in biases} == {onnx.TensorProto.FLOAT}


def test_it_computes_nearly_what_the_network_computes(int8, judge, graph, ranges, every_conv) -> None:
    cpu = quantize(graph, every_conv, ranges.thresholds("mse"), ranges.non_negative, CPU)
    for model in (int8, cpu):
        drift = judge(model)
        assert 0 < drift.heatmap_mean < 0.05 * drift.heatmap_range


def test_int8_beside_fp16_computes_what_int8_beside_fp32_computes(int8, judge) -> None:
    half = typed(Graph(onnx.shape_inference.infer_shapes(int8)), "fp16")
    onnx.checker.check_model(half, full_check=True)
    assert broken_rules(half) == []
    assert judge(half).heatmap_mean < 0.05 * judge(half).heatmap_range


def test_nothing_in_int8_is_the_network_itself(graph, ranges, judge) -> None:
    model = quantize(graph, set(), ranges.thresholds("mse"), ranges.non_negative)
    assert judge(model).heatmap_max == 0


def test_a_range_that_is_missing_is_named(graph, every_conv) -> None:
    with pytest.raises(ValueError, match="the ranges have no tensor"):
        quantize(graph, every_conv, {}, set())


def test_a_graph_of_another_exporter_is_divided_by_its_structure() -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 3, 8, 8])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 4, 8, 8])
    weight = onnx.numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "w")
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], name="Conv_0")
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "foreign", [value], [out], [weight]))
    assert [unit.convs for unit in quantizable_units(Graph(model))] == [("Conv_0",)]
    del model.graph.node[:]
    with pytest.raises(ValueError, match="has no conv or matrix product with constant weights"):
        quantizable_units(Graph(model))


class TestRules:
    def test_a_zero_point_is_found(self, graph, ranges, every_conv) -> None:
        cpu = quantize(graph, every_conv, ranges.thresholds("mse"), ranges.non_negative, CPU)
        assert any("not symmetric" in rule for rule in broken_rules(cpu))

    def test_a_weight_scaled_along_its_inputs_is_found(self, int8) -> None:
        model = onnx.ModelProto.FromString(int8.SerializeToString())
        weight = next(node for node in model.graph.node if node.attribute and node.op_type == "DequantizeLinear")
        weight.attribute[0].i = 1
        assert any("axis 0" in rule for rule in broken_rules(model))

    def test_a_pair_of_two_scales_is_found(self, int8) -> None:
        model = onnx.ModelProto.FromString(int8.SerializeToString())
        pairs = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
        pairs[0].input[1] = pairs[-1].input[1]
        assert any("fed by a Q" in rule for rule in broken_rules(model))

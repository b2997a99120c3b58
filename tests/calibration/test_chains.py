"""Units of graphs by structure: what a fusing runtime would join."""

from collections.abc import Mapping

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx import helper, numpy_helper

from lehrnet.calibration.chains import LONGEST, MOST_UNITS, chains, quantizable
from lehrnet.calibration.graph import Graph
from lehrnet.calibration.quantize import quantize

FLOAT = onnx.TensorProto.FLOAT


def graph_of(nodes, weights: Mapping[str, tuple[int, ...]], source: list[int], target: str) -> Graph:
    rng = np.random.default_rng(0)
    constants = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), n) for n, shape in weights.items()
    ]
    given, found = helper.make_tensor_value_info("x", FLOAT, source), helper.make_tensor_value_info(target, FLOAT, None)
    graph = helper.make_graph(nodes, "g", [given], [found], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    return Graph(onnx.shape_inference.infer_shapes(model))


def node(kind: str, inputs: list[str], output: str, **attributes):
    return helper.make_node(kind, inputs, [output], name=output, **attributes)


def names(graph: Graph) -> list[list[str]]:
    return [[each.name for each in group] for group in chains(graph)]


def test_a_residual_block_with_its_shortcut_is_one_unit() -> None:
    kernel: dict[str, tuple[int, ...]] = dict.fromkeys(("w1", "w2", "w3", "w4"), (4, 4, 1, 1))
    nodes = [
        node("Conv", ["x", "w1"], "one"),
        node("Relu", ["one"], "relu"),
        node("Conv", ["relu", "w2"], "two"),
        node("Conv", ["x", "w3"], "shortcut"),
        node("Add", ["two", "shortcut"], "sum"),
        node("Relu", ["sum"], "out"),
        node("Conv", ["out", "w4"], "next"),
        node("Add", ["next", "out"], "end"),
    ]
    assert names(graph_of(nodes, kernel, [1, 4, 8, 8], "end")) == [["one", "two", "shortcut"], ["next"]]


def test_queries_keys_and_values_are_one_unit_and_products_of_activations_none() -> None:
    weights = dict.fromkeys("qkv", (6, 6))
    nodes = [node("MatMul", ["x", name], f"m{name}") for name in "qkv"]
    nodes += [node("Add", ["mq", "mk"], "s"), node("MatMul", ["s", "mv"], "end")]
    graph = graph_of(nodes, weights, [1, 6, 6], "end")
    assert names(graph) == [["mq", "mk", "mv"]]
    assert not quantizable(graph, graph.nodes[-1])


def test_gates_of_one_pixel_stay() -> None:
    nodes = [
        node("GlobalAveragePool", ["x"], "mean"),
        node("Conv", ["mean", "w"], "gate"),
        node("Mul", ["x", "gate"], "e"),
    ]
    assert names(graph_of(nodes, {"w": (4, 4, 1, 1)}, [1, 4, 8, 8], "e")) == []


def test_long_chains_are_cut_and_many_are_merged() -> None:
    count = LONGEST * (MOST_UNITS + 5)
    nodes = [node("Conv", [f"c{i}" if i else "x", "w"], f"c{i + 1}") for i in range(count)]
    found = names(graph_of(nodes, {"w": (2, 2, 1, 1)}, [1, 2, 4, 4], f"c{count}"))
    assert len(found) <= MOST_UNITS
    assert [name for group in found for name in group] == [f"c{i + 1}" for i in range(count)]


@pytest.mark.parametrize("kind", ["MatMul", "Gemm"])
def test_matrix_products_are_rounded_by_output_channel(kind: str) -> None:
    attributes = {"transB": 1} if kind == "Gemm" else {}
    graph = graph_of([node(kind, ["x", "w"], "y", **attributes)], {"w": (5, 5)}, [3, 5], "y")
    model = quantize(graph, {"y"}, {"x": 3.0}, set())
    rounded = next(each for each in model.graph.node if each.op_type == "DequantizeLinear" and "w" in each.input[0])
    assert rounded.attribute[0].i == (0 if kind == "Gemm" else 1)
    onnxruntime = pytest.importorskip("onnxruntime")
    x = np.random.default_rng(1).uniform(-3, 3, (3, 5)).astype(np.float32)
    weight = np.asarray(graph.constant("w"), np.float32)
    wanted = x @ (weight.T if kind == "Gemm" else weight)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x})[0], wanted, atol=0.02 * np.abs(wanted).max())


def test_two_convs_of_one_weight_share_its_rounding() -> None:
    nodes = [node("Conv", ["x", "w"], "one"), node("Conv", ["one", "w"], "two")]
    graph = graph_of(nodes, {"w": (4, 4, 1, 1)}, [1, 4, 8, 8], "two")
    model = quantize(graph, {"one", "two"}, {"x": 1.0, "one": 1.0}, set())
    onnx.checker.check_model(model)
    assert [each.input[1] for each in model.graph.node if each.op_type == "Conv"] == ["w/DequantizeLinear"] * 2

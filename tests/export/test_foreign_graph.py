"""ONNX files of other programs: what is taken as it is, and what is refused before it runs."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxsim")
pytest.importorskip("onnxruntime")

import onnx
import onnxruntime
from onnx import helper, numpy_helper

from lehrnet.export.foreign_graph import read_foreign
from lehrnet.tests.export.foreign_models import FLOAT, pose_model, saved


def run(model, crops):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {model.graph.input[0].name: crops})[0])


def crops_of(people: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((people, 3, 64, 32), dtype=np.float32)


def test_shapes_say_size_joints_and_stride_and_names_are_kept(tmp_path: Path) -> None:
    graph = read_foreign(saved(pose_model(14), tmp_path / "a.onnx"))
    assert (graph.size, graph.joints, graph.stride) == ((64, 32), 14, 4)
    assert (graph.names, graph.batch) == (("image", "maps"), None)
    assert len({node.name for node in graph.model.graph.node}) == len(graph.model.graph.node)


def test_a_fixed_batch_is_made_free_and_gives_the_same_heatmaps(tmp_path: Path) -> None:
    model = pose_model(batch=1)
    graph = read_foreign(saved(model, tmp_path / "a.onnx"))
    wanted = np.concatenate([run(model, crops_of(5)[[row]]) for row in range(5)])
    np.testing.assert_allclose(run(graph.model, crops_of(5)), wanted, atol=1e-5)
    assert graph.model.opset_import[0].version >= 19


def test_a_reshape_to_the_traced_batch_is_made_free_too(tmp_path: Path) -> None:
    shape = numpy_helper.from_array(np.array([1, 17, 16, 8], np.int64), "shape")
    more = [helper.make_node("Constant", [], ["shape"], value=shape)]
    more.append(helper.make_node("Reshape", ["maps", "shape"], ["shaped"]))
    graph = read_foreign(saved(pose_model(more=more, outputs=["shaped"]), tmp_path / "a.onnx"))
    assert graph.batch is None
    assert run(graph.model, crops_of(3)).shape == (3, 17, 16, 8)


def test_a_shape_that_is_computed_is_known_all_the_same(tmp_path: Path) -> None:
    """As `flatten(2)` and `reshape` are traced: the batch by Shape, the rest by a constant."""
    ends = [numpy_helper.from_array(np.array([number], np.int64), name) for name, number in (("0", 0), ("2", 2))]
    ends.append(numpy_helper.from_array(np.array([16, 8], np.int64), "grid"))
    more = [
        helper.make_node("Shape", ["maps"], ["whole"]),
        helper.make_node("Slice", ["whole", "0", "2"], ["first"]),
        helper.make_node("Concat", ["first", "grid"], ["sides"], axis=0),
        helper.make_node("Reshape", ["maps", "sides"], ["shaped"]),
        helper.make_node("Sigmoid", ["shaped"], ["shares"]),
    ]
    model = pose_model(more=more, outputs=["shares"])
    model.graph.initializer.extend(ends)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("shares", FLOAT, [1, 17, 16, 8]))
    graph = read_foreign(saved(model, tmp_path / "a.onnx"))
    shapes = {value.name: value.type.tensor_type.shape.dim for value in graph.model.graph.value_info}
    assert graph.batch is None
    assert all(dim.dim_value for dims in shapes.values() for dim in dims[1:])


def test_a_batch_that_cannot_be_freed_is_kept_and_said(tmp_path: Path, caplog) -> None:
    bias = numpy_helper.from_array(np.arange(2, dtype=np.float32).reshape(2, 1, 1, 1), "bias")  # of each place in it
    model = pose_model(batch=2, more=[helper.make_node("Add", ["maps", "bias"], ["shifted"])], outputs=["shifted"])
    model.graph.initializer.append(bias)
    graph = read_foreign(saved(onnx.shape_inference.infer_shapes(model), tmp_path / "a.onnx"))
    assert graph.batch == 2
    assert "keeps its batch of 2" in caplog.text


def test_bgr_becomes_rgb(tmp_path: Path) -> None:
    model = pose_model()
    graph = read_foreign(saved(model, tmp_path / "a.onnx"), colour="bgr")
    crops = crops_of(1)
    np.testing.assert_allclose(run(graph.model, crops), run(model, crops[:, ::-1].copy()), atol=1e-5)


@pytest.mark.parametrize(("strides", "stride"), [((2, 1), 2), ((4, 2), 8), ((1, 1), 1)])
def test_another_whole_stride_is_taken(tmp_path: Path, strides: tuple[int, int], stride: int) -> None:
    assert read_foreign(saved(pose_model(strides=strides), tmp_path / "a.onnx")).stride == stride


def test_an_open_size_is_said_by_the_caller(tmp_path: Path) -> None:
    path = saved(pose_model(size=("h", "w")), tmp_path / "a.onnx")
    with pytest.raises(ValueError, match=r"leaves the size of crops open \(1 x 3 x h x w\): say it with --size HxW"):
        read_foreign(path)
    assert read_foreign(path, (96, 64)).size == (96, 64)


def test_one_of_several_outputs_can_be_named(tmp_path: Path) -> None:
    path = saved(pose_model(outputs=["maps", "e"]), tmp_path / "a.onnx")
    with pytest.raises(ValueError, match="has outputs maps, e; name the one with the heatmaps by --output"):
        read_foreign(path)
    assert read_foreign(path, output="maps").names == ("image", "maps")
    with pytest.raises(ValueError, match="has no output 'f'; it has maps, e"):
        read_foreign(path, output="f")


def vectors(names: tuple[str, ...] = ("x", "y")):
    """SimCC: two vectors a joint."""
    shape = numpy_helper.from_array(np.array([0, 17, -1], np.int64), "flat")
    more = [helper.make_node("Constant", [], ["flat"], value=shape)]
    more += [helper.make_node("Reshape", ["maps", "flat"], [name]) for name in names]
    return pose_model(more=more, outputs=names)


def custom():
    model = pose_model()
    model.graph.node.append(helper.make_node("Peak", ["maps"], ["p"], domain="acme"))
    model.opset_import.append(helper.make_opsetid("acme", 1))
    return model


def looping():
    value = helper.make_tensor_value_info("maps", FLOAT, None)
    branch = helper.make_graph([helper.make_node("Identity", ["maps"], ["z"])], "b", [], [value])
    branch.output[0].name = "z"
    yes = helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True), "yes"))
    return pose_model(
        more=[yes, helper.make_node("If", ["yes"], ["z2"], then_branch=branch, else_branch=branch)], outputs=["z2"]
    )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (vectors, "gives two vectors a joint .*SimCC"),
        (lambda: vectors(("x",)), "its output x is N x 17 x 128, expected heatmaps"),
        (custom, "has the custom operator acme.Peak"),
        (looping, r"has control flow \(If\)"),
        (
            lambda: pose_model(strides=(4, 8)),
            "its output maps is N x 17 x 2 x 1 for crops of 64x32 px, expected a cell",
        ),
        (lambda: pose_model(strides=(2, 3)), "N x 17 x 11 x 6 for crops of 64x32"),
        (lambda: pose_model(weight=np.nan), "its heatmaps hold NaN or infinity on noise"),
        (lambda: pose_model(size=(60, 32)), "takes crops of 60x32 px, expected multiples of 32"),
    ],
)
def test_what_is_no_network_of_heatmaps_is_refused(tmp_path: Path, model, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_foreign(saved(model(), tmp_path / "a.onnx"))


def test_tensors_in_other_files_are_refused(tmp_path: Path) -> None:
    onnx.save(pose_model(), str(tmp_path / "a.onnx"), save_as_external_data=True, location="a.bin", size_threshold=0)
    with pytest.raises(ValueError, match=r"keeps tensors in other files \(external data\)"):
        read_foreign(tmp_path / "a.onnx")


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"hello")
    with pytest.raises(ValueError, match="is not a whole ONNX model"):
        read_foreign(tmp_path / "a.onnx")
    (tmp_path / "a.pth").write_bytes(b"hello")
    with pytest.raises(ValueError, match="checkpoints are for `lehrnet export`"):
        read_foreign(tmp_path / "a.pth")
    with pytest.raises(FileNotFoundError, match="no model at"):
        read_foreign(tmp_path / "b.onnx")
    with pytest.raises(ValueError, match="takes crops of 1 x 3 x 64 x 32, but --size says 128x96"):
        read_foreign(saved(pose_model(), tmp_path / "c.onnx"), (128, 96))

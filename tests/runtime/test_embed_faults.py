"""What the C and C++ library does with bundles and graphs that are not what they should be."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lehrnet.benchmarks.embedded import wheels_library
from lehrnet.pose.skeleton import SKELETONS, Skeleton
from lehrnet.pose.spec import PoseSpec
from lehrnet.runtime.backends.library import LibrarySession
from lehrnet.runtime.bundle import Artefact, Bundle, write_manifest
from lehrnet.tests.runtime.embed_builds import MARKS, dev_library, run

pytestmark = MARKS
pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def library() -> Path:
    return dev_library()


def bundle_of(root: Path, model: bytes, spec: PoseSpec, name: str = "model.onnx") -> Path:
    """A bundle whose fp32 is `model`, with a manifest that is true of its bytes."""
    root.mkdir(exist_ok=True)
    (root / name).write_bytes(model)
    write_manifest(Bundle(root, "lehrnet_w32", spec, False, "by hand", {"fp32": Artefact.of(root / name)}))
    return root


def graph_of(
    joints: int = 17,
    *,
    batch: tuple[int | str, int | str] = ("n", "n"),
    element: str = "FLOAT",
    last: Sequence[Any] = (),
    declared: Any = None,
    weights: Sequence[Any] = (),
    size: tuple[int | str, int | str] = (64, 64),
) -> Any:
    """A network by hand for crops of 64x64: each joint's heatmap is the mean colour of a cell.

    `last` stands between its "found" and the output "heatmaps", `declared` replaces the output's description.
    """
    import onnx

    helper, numbers = onnx.helper, np.full((joints, 3, 1, 1), 1 / 3, np.float32)
    pool = helper.make_node("AveragePool", ["crops"], ["cells"], kernel_shape=[4, 4], strides=[4, 4])
    nodes = [pool, helper.make_node("Conv", ["cells", "weight"], ["found" if last else "heatmaps"]), *last]
    crops = helper.make_tensor_value_info("crops", getattr(onnx.TensorProto, element), [batch[0], 3, *size])
    cells = [batch[1], joints, 16, 16]
    heatmaps = declared or helper.make_tensor_value_info("heatmaps", onnx.TensorProto.FLOAT, cells)
    graph = helper.make_graph(
        nodes, "hand", [crops], [heatmaps], [onnx.numpy_helper.from_array(numbers, "weight"), *weights]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


SPEC = PoseSpec(input_size=(64, 64))


def refusal(library: Path, bundle: Path) -> str:
    """What the library says to a bundle that it doesn't open or cannot run."""
    with pytest.raises(ValueError, match=".") as caught:
        LibrarySession(library, bundle, wheels_library()).run_network(np.zeros((1, 3, 64, 64), np.float32))
    return str(caught.value)


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_it_knows_the_skeletons_that_python_knows(library: Path, skeleton: Skeleton, tmp_path: Path) -> None:
    spec = PoseSpec(skeleton, input_size=(64, 64))
    good = bundle_of(tmp_path / "good", graph_of(len(skeleton)).SerializeToString(), spec)
    assert LibrarySession(library, good, wheels_library()).joints == len(skeleton)
    manifest = json.loads((good / "bundle.json").read_text())
    manifest["pose"]["skeleton"]["joints"].reverse()
    (good / "bundle.json").write_text(json.dumps(manifest))
    assert f"joints are not {skeleton.name}'s" in refusal(library, good)


@pytest.mark.parametrize("place", ["initializer", "attribute", "branch"])
def test_numbers_in_files_that_no_manifest_names_are_refused(
    library: Path, place: str, tmp_path: Path, monkeypatch
) -> None:
    import onnx
    from onnx.external_data_helper import set_external_data

    model = graph_of()
    weight = model.graph.initializer.pop()
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "w.bin").write_bytes(weight.raw_data)
    set_external_data(weight, "w.bin", length=len(weight.raw_data))
    weight.ClearField("raw_data")
    constant = onnx.helper.make_node("Constant", [], ["weight"], value=weight)
    if place == "initializer":
        model.graph.initializer.append(weight)
    elif place == "attribute":
        model.graph.node.insert(0, constant)
    else:
        result = onnx.helper.make_tensor_value_info("weight", onnx.TensorProto.FLOAT, None)
        branch = onnx.helper.make_graph([constant], "branch", [], [result])
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "yes"))
        model.graph.node.insert(
            0, onnx.helper.make_node("If", ["yes"], ["weight"], then_branch=branch, else_branch=branch)
        )
    monkeypatch.chdir(bundle_of(bundle, model.SerializeToString(), SPEC))
    assert "numbers of it lie in another file" in refusal(library, bundle)


def odd_graphs() -> dict[str, tuple[Any, str]]:
    """Graphs that are not what their manifest says, and what is to be said of each."""
    import onnx

    helper, types = onnx.helper, onnx.TensorProto

    def ending(operator: str, element: int, shape: list[int | str] | None, **attributes: Any) -> Any:
        node = helper.make_node(operator, ["found"], ["heatmaps"], **attributes)
        return graph_of(last=[node], declared=helper.make_tensor_value_info("heatmaps", element, shape))

    maps: list[int | str] = ["n", 17, 16, 16]
    sequence = helper.make_tensor_sequence_value_info("heatmaps", types.FLOAT, None)
    named = graph_of()
    named.graph.input[0].name = named.graph.node[0].input[0] = "frames"
    two = graph_of()
    two.graph.output.append(helper.make_tensor_value_info("cells", types.FLOAT, ["n", 3, 16, 16]))
    pooled = ending("AveragePool", types.FLOAT, ["n", 17, 8, 8], kernel_shape=[2, 2], strides=[2, 2])
    wanted = "expected 'heatmaps' of float (any, 17, 16, 16)"
    half = ending("Cast", types.FLOAT16, maps, to=types.FLOAT16)
    return {
        "heatmaps of 8x8": (pooled, f"(any, 17, 8, 8), {wanted}"),
        "output float16": (half, f"of another type (any, 17, 16, 16), {wanted}"),
        "output string": (ending("Cast", types.STRING, maps, to=types.STRING), wanted),
        "output rank 1": (ending("Flatten", types.FLOAT, None), wanted),
        "output scalar": (ending("ReduceMean", types.FLOAT, [], keepdims=0), wanted),
        "output a sequence": (
            graph_of(last=[helper.make_node("SequenceConstruct", ["found"], ["heatmaps"])], declared=sequence), wanted
        ),
        "joints of another number": (graph_of(16), f"(any, 16, 16, 16), {wanted}"),
        "another input name": (named, "it has 'frames' of float (any, 3, 64, 64), expected 'crops'"),
        "two outputs": (two, "it has 2 of them"),
        "input of any size": (graph_of(size=("h", "w")), "(any, 3, any, any), expected 'crops'"),
        "output batch 0": (graph_of(batch=("n", 0)), "expected one batch"),
        "batch of 4096": (graph_of(batch=(4096, 4096)), "expected one batch"),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(odd_graphs()))
def test_a_graph_that_is_not_the_manifest_s_is_refused_with_words(library: Path, name: str, tmp_path: Path) -> None:
    model, said = odd_graphs()[name]
    message = refusal(library, bundle_of(tmp_path / "odd", model.SerializeToString(), SPEC))
    assert said in message


def test_an_output_that_is_not_of_its_batch_is_an_error_and_no_overrun(library: Path, tmp_path: Path) -> None:
    import onnx

    doubled = onnx.helper.make_node("Concat", ["found", "found"], ["heatmaps"], axis=0)
    none = onnx.helper.make_node("Slice", ["found", "zero", "zero"], ["heatmaps"])
    zero = onnx.numpy_helper.from_array(np.array([0]), "zero")
    for number, model in enumerate((graph_of(last=[doubled]), graph_of(last=[none], weights=[zero]))):
        bundle = bundle_of(tmp_path / str(number), model.SerializeToString(), SPEC)
        assert "ONNX Runtime could not run the network" in refusal(library, bundle)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_graph_of_one_fixed_batch_runs_in_turns(library: Path, batch: int, tmp_path: Path) -> None:
    crops = np.random.default_rng(0).standard_normal((7, 3, 64, 64), dtype=np.float32)
    fixed, free = (
        bundle_of(tmp_path / name, graph_of(batch=(size, size)).SerializeToString(), SPEC)
        for name, size in (("fixed", batch), ("free", "n"))
    )
    wanted = LibrarySession(library, free, wheels_library()).run_network(crops)
    np.testing.assert_array_equal(LibrarySession(library, fixed, wheels_library()).run_network(crops), wanted)


def in_a_small_process(code: str, *arguments: object, **environment: str) -> str:
    """What a program says that may have 4 GB of addresses."""
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"
    return run(sys.executable, "-c", limit + code, *arguments, **environment)


OPEN = """
from pathlib import Path
import numpy as np
from lehrnet.runtime.backends.library import LibrarySession
library, bundle, runtime = map(Path, sys.argv[1:4])
try:
    session = LibrarySession(library, bundle, runtime, threads=1, max_batch=4)
    session.run_network(np.zeros((1, 3, *session.input_size), np.float32))
except ValueError as error:
    print(error)
"""


def test_a_manifest_that_asks_for_more_than_the_graph_takes_no_memory(library: Path, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "large", graph_of().SerializeToString(), PoseSpec(input_size=(4096, 4096)))
    said = in_a_small_process(OPEN, library, bundle, wheels_library())
    assert "it has 'crops' of float (any, 3, 64, 64), expected 'crops' of float (any, 3, 4096, 4096)" in said


def test_a_graph_that_asks_for_160_gb_when_it_runs_is_an_error(library: Path, tmp_path: Path) -> None:
    import onnx

    shape = onnx.numpy_helper.from_array(np.array([200_000, 200_000]), "shape")
    nodes = [
        onnx.helper.make_node("Shape", ["found"], ["own"]),  # of the input: nothing that is known beforehand
        onnx.helper.make_node("ReduceMin", ["own"], ["least"], keepdims=0),
        onnx.helper.make_node("Max", ["shape", "least"], ["sizes"]),
        onnx.helper.make_node("ConstantOfShape", ["sizes"], ["much"]),
        onnx.helper.make_node("ReduceMean", ["much"], ["mean"], keepdims=0),
        onnx.helper.make_node("Add", ["found", "mean"], ["heatmaps"]),
    ]
    bundle = bundle_of(tmp_path / "much", graph_of(last=nodes, weights=[shape]).SerializeToString(), SPEC)
    said = in_a_small_process(OPEN, library, bundle, wheels_library())
    assert "ONNX Runtime could not run the network" in said


QUIET = """
import ctypes, time
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
time.sleep(float(sys.argv[4]))
print("ORT_DISABLE_TELEMETRY is", getenv(b"ORT_DISABLE_TELEMETRY").decode())
"""


def test_onnx_runtime_keeps_nothing_about_its_user(library: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "ORT_DISABLE_TELEMETRY": "0"}
    said = in_a_small_process(OPEN + QUIET, library, tiny_bundle, wheels_library(), 3, **home)
    assert said.splitlines() == ["ORT_DISABLE_TELEMETRY is 1"]
    assert not list(tmp_path.rglob("*"))


NAMES = """
import socket, subprocess, sys, threading
asked, server = [], socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
def answer():
    while True:
        question, sender = server.recvfrom(2048)
        asked.append(question[12:].split(b"\\0")[0])
        server.sendto(question[:2] + b"\\x81\\x83" + question[4:6] + bytes(6) + question[12:], sender)
threading.Thread(target=answer, daemon=True).start()
socket.getaddrinfo, done = socket.getaddrinfo, subprocess.run(sys.argv[1:])
try:
    socket.getaddrinfo("a-question-of-ours.example", 80)
except OSError:
    pass
print(done.returncode, asked)
"""


def test_onnx_runtime_asks_no_name_server(library: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """Thirty seconds in a network of its own, whose name server writes down what it is asked."""
    own = ["unshare", "--net", "--mount", "sh", "-ec"]
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    ready = f"ip link set lo up && mount --bind {tmp_path}/resolv.conf /etc/resolv.conf"
    if subprocess.run([*own, ready], capture_output=True, check=False).returncode != 0:
        pytest.skip("a network of its own takes root, unshare and ip")
    session = [sys.executable, "-c", "import sys\n" + OPEN + QUIET, library, tiny_bundle, wheels_library(), 30]
    said = run(*own, f'{ready} && exec "$@"', "sh", sys.executable, "-c", NAMES, *session, HOME=str(tmp_path / "home"))
    code, questions = said.splitlines()[-1].split(" ", 1)
    assert code == "0"
    assert "a-question-of-ours" in questions
    assert "microsoft" not in questions


def test_a_skeleton_of_others_is_taken_from_the_manifest(library: Path, tmp_path: Path) -> None:
    names = (*(f"joint {number}" for number in range(19)), "L_Paw", "R_Paw")
    skeleton = Skeleton("dog", names, (0.067,) * 21, flip_pairs=((19, 20),), limbs=((0, 1),), upper_body=())
    good = bundle_of(tmp_path / "good", graph_of(21).SerializeToString(), PoseSpec(skeleton, input_size=(64, 64)))
    assert LibrarySession(library, good, wheels_library()).joints == 21
    manifest = json.loads((good / "bundle.json").read_text())
    manifest["pose"]["skeleton"]["joints"][0] = "L_Paw"
    (good / "bundle.json").write_text(json.dumps(manifest))
    assert "joints: expected each name once" in refusal(library, good)

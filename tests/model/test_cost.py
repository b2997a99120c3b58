import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lehrnet.model import create_model
from lehrnet.model.config import VARIANTS, variant
from lehrnet.model.cost import network_cost
from lehrnet.model.forms import as_published
from lehrnet.model.places import VIEWS, View

COCO_SIZE = (256, 192)


@pytest.mark.parametrize(
    ("name", "params_m", "within", "macs_g", "macs_within"),
    [
        ("hrnet_w32", 28.54, 0.001, 7.65, 0.001),
        ("lehrnet_w32", 4.2, 0.025, 1.5, 0.03),  # the paper's budget
        ("lehrnet_w32", 4.136, 0.001, 1.538, 0.001),
        ("lehrnet_w32_lean", 4.125, 0.001, 1.460, 0.001),
        ("lehrnet_w32_literal", 7.59, 0.01, 2.88, 0.01),
        ("lehrnet_w32_literal_lean", 7.58, 0.01, 2.78, 0.01),
    ],
)
def test_counts_are_those_of_the_paper_analysis(name, params_m, within, macs_g, macs_within) -> None:
    cost = network_cost(variant(name), COCO_SIZE)
    assert cost.params / 1e6 == pytest.approx(params_m, rel=within)
    assert cost.macs / 1e9 == pytest.approx(macs_g, rel=macs_within)


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_are_those_that_pytorch_counts(name: str) -> None:
    assert network_cost(variant(name), COCO_SIZE).params == sum(p.numel() for p in create_model(name).parameters())


@pytest.mark.parametrize(
    ("name", "size"), [("lehrnet_w32", (64, 96)), ("lehrnet_w16", (128, 64)), ("hrnet_w32", (64, 64))]
)
def test_multiply_adds_are_half_of_pytorchs_flops_of_the_published_network(name: str, size: tuple[int, int]) -> None:
    network = as_published(create_model(name)).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, *size))
    assert network_cost(variant(name), size).macs == counter.get_total_flops() / 2


def test_the_joints_change_the_head_only() -> None:
    by_joints = [network_cost(variant("lehrnet_w16", joints), COCO_SIZE).by("stage") for joints in (16, 17)]
    assert [a.part for a, b in zip(*by_joints, strict=True) if a != b] == ["head"]


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_sums_to_the_whole(view: View) -> None:
    cost = network_cost(variant("lehrnet_w32"), COCO_SIZE)
    assert sum(part.params for part in cost.by(view)) == cost.params
    assert sum(part.macs for part in cost.by(view)) == cost.macs


def test_ema_is_what_the_lean_variant_lacks() -> None:
    kinds = {part.part: part for part in network_cost(variant("lehrnet_w32"), COCO_SIZE).by("kind")}
    lean = network_cost(variant("lehrnet_w32_lean"), COCO_SIZE)
    whole = network_cost(variant("lehrnet_w32"), COCO_SIZE)
    assert kinds["EMA"].params == whole.params - lean.params
    assert kinds["EMA"].macs == whole.macs - lean.macs


def test_plain_units_are_not_called_lconv() -> None:
    kinds = {part.part for part in network_cost(variant("hrnet_w32"), COCO_SIZE).by("kind")}
    assert kinds == {"stem", "Bottleneck", "transition", "3x3 conv", "fusion", "head"}


def test_multiply_adds_are_those_of_the_exported_graph(tmp_path) -> None:
    """A counter that knows nothing of modules: the shapes of an ONNX graph. EMA apart, whose exact form costs less."""
    pytest.importorskip("onnxsim")
    from lehrnet.calibration.graph import read_graph
    from lehrnet.calibration.units import total_macs
    from lehrnet.export import export_network

    export_network(create_model("lehrnet_w32_lean"), (64, 96), tmp_path / "lean.onnx")
    assert total_macs(read_graph(tmp_path / "lean.onnx")) == network_cost(variant("lehrnet_w32_lean"), (64, 96)).macs

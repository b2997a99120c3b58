"""Networks of HRNet's official code and of MMPose, read as they are."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from lehrnet.model import NetworkConfig, PoseNetwork  # noqa: E402
from lehrnet.model.checkpoint import load_checkpoint  # noqa: E402
from lehrnet.model.config import variant  # noqa: E402
from lehrnet.model.hrnet_names import hrnet_config, our_names, seems_to_be  # noqa: E402

FOREIGN = Path(__file__).resolve().parents[3] / "shared" / "data" / "foreign"
TINY = NetworkConfig(width=8, units=2, modules=(1, 2, 1), light_units=False, light_convs=False, attention=False)


def official_name(name: str) -> str:  # noqa: PLR0911
    """The official code's name for a tensor of ours: written from its side, to hold the product's rules against."""
    parts = name.split(".")
    number = {"first": "1", "second": "2", "reduce": "1", "spatial": "2", "expand": "3"}
    end, kind = parts[-1], {"conv": "conv", "norm": "bn"}.get(parts[-2], "")
    index = "0" if kind == "conv" else "1"
    match parts[0], parts[1:]:
        case "head", [_]:
            return f"final_layer.{end}"
        case "stem", [which, *_]:
            return f"{kind}{number[which]}.{end}"
        case "stage1", [unit, "shortcut", *_]:
            return f"layer1.{unit}.downsample.{index}.{end}"
        case "stage1", [unit, which, *_]:
            return f"layer1.{unit}.{kind}{number[which]}.{end}"
        case "transition1", ["finest", *_]:
            return f"transition1.0.{index}.{end}"
        case transition, ["opened", *_]:
            return f"{transition}.{transition[-1]}.0.{index}.{end}"
        case stage, ["exchanges", module, "branches", branch, unit, which, *_]:
            return f"{stage}.{module}.branches.{branch}.{unit}.{kind}{number[which]}.{end}"
        case stage, ["exchanges", module, "paths", target, source, step, *_]:
            halving = "" if source > target else f"{int(step) // 2}."
            return f"{stage}.{module}.fuse_layers.{target}.{source}.{halving}{index}.{end}"
    raise AssertionError(name)


def as_official(network: PoseNetwork) -> dict[str, Tensor]:
    return {official_name(name): tensor for name, tensor in network.state_dict().items()}


def as_mmpose(network: PoseNetwork, head: str) -> dict[str, Tensor]:
    named = as_official(network)
    return {
        (f"{head}.{name}" if name.startswith("final_layer") else f"backbone.{name}"): t for name, t in named.items()
    }


@pytest.fixture(scope="module")
def network(randomized) -> PoseNetwork:
    torch.manual_seed(2)
    return randomized(PoseNetwork(TINY)).eval()


@pytest.mark.parametrize(
    ("wrapped", "said"),
    [
        (as_official, "HRNet's official code"),
        (
            lambda network: {"epoch": 3, "state_dict": {f"module.{n}": t for n, t in as_official(network).items()}},
            "official",
        ),
        (lambda network: {"meta": {"a": 1}, "state_dict": as_mmpose(network, "keypoint_head")}, "MMPose"),
        (
            lambda network: {"state_dict": as_mmpose(network, "head") | {"data_preprocessor.mean": torch.zeros(3)}},
            "MMPose",
        ),
        (
            lambda network: {"ema_state_dict": {f"module.{n}": t for n, t in as_mmpose(network, "head").items()}},
            "MMPose",
        ),
    ],
    ids=["official", "official, wrapped", "MMPose 0.x", "MMPose 1.x", "MMPose 1.x, averaged"],
)
def test_their_networks_are_read_as_they_are(network, wrapped, said: str, tmp_path: Path, caplog) -> None:
    torch.save(wrapped(network), tmp_path / "pose_hrnet.pth")
    found = load_checkpoint(tmp_path / "pose_hrnet.pth", size=(128, 96))
    torch.testing.assert_close(found.network.state_dict(), network.state_dict(), rtol=0, atol=0)
    assert (found.network.config, found.spec.frame, found.spec.decode) == (TINY, "hrnet", "quarter")
    assert said in caplog.text
    assert "frame 'hrnet'" in found.note


def test_a_frame_that_is_asked_for_goes_before_the_usual_one(network, tmp_path: Path) -> None:
    torch.save(as_mmpose(network, "head"), tmp_path / "udp.pth")
    assert load_checkpoint(tmp_path / "udp.pth", size=(128, 96), frame="udp", decode="udp").spec.frame == "udp"


@pytest.mark.parametrize("name", ["hrnet_w32", "hrnet_w48"])
def test_the_official_list_of_names_is_ours_to_the_last(name: str) -> None:
    path = FOREIGN / "hrnet_official_state_dicts.json.gz"
    if not path.is_file():
        pytest.skip("the official lists of names of ../shared/data/foreign are not on this machine")
    shapes = json.loads(gzip.decompress(path.read_bytes()))[name]
    found = our_names({name: torch.empty(shape, device="meta") for name, shape in shapes.items()})
    assert hrnet_config(found) == variant(name)
    with torch.device("meta"):
        wanted = PoseNetwork(variant(name)).state_dict()
    assert {name: tensor.shape for name, tensor in found.items()} == {n: tensor.shape for n, tensor in wanted.items()}


def test_the_official_network_s_heatmaps_are_found() -> None:
    if not (FOREIGN / "hrnet_w8_golden.npz").is_file():
        pytest.skip("the official network of ../shared/data/foreign is not on this machine")
    found = load_checkpoint(FOREIGN / "hrnet_w8_official.pth", size=(128, 96))
    with np.load(FOREIGN / "hrnet_w8_golden.npz") as golden, torch.inference_mode():
        heatmaps = found.network(torch.from_numpy(golden["crops"])).numpy()
        np.testing.assert_allclose(heatmaps, golden["heatmaps"], atol=1e-5 * np.abs(golden["heatmaps"]).max())


class TestRefused:
    def test_a_tensor_of_another_shape(self, network, tmp_path: Path) -> None:
        state = as_official(network)
        state["stage3.1.fuse_layers.0.2.0.weight"] = torch.zeros(8, 31, 1, 1)
        torch.save(state, tmp_path / "w.pth")
        name = re.escape("stage3.exchanges.1.paths.0.2.0.conv.weight")
        with pytest.raises(ValueError, match=rf"{name} has shape \(8, 31, 1, 1\), expected \(8, 32, 1, 1\)"):
            load_checkpoint(tmp_path / "w.pth", size=(128, 96))

    def test_a_network_that_it_is_not(self, network, tmp_path: Path) -> None:
        torch.save(as_official(network), tmp_path / "w.pth")
        with pytest.raises(ValueError, match="does not hold a hrnet_w48, but an HRNet of width 8"):
            load_checkpoint(tmp_path / "w.pth", network="hrnet_w48", size=(128, 96))

    @pytest.mark.parametrize("without", ["transition1.0.0.weight", "stage4.0.branches.0.0.bn1.weight"])
    def test_a_network_with_a_tensor_missing(self, network, without: str, tmp_path: Path) -> None:
        state = as_official(network)
        del state[without]
        torch.save(state, tmp_path / "w.pth")
        with pytest.raises(ValueError, match=r"is no whole HRNet|missing stage4\.exchanges\.0\.branches\.0\.0"):
            load_checkpoint(tmp_path / "w.pth", size=(128, 96))

    @pytest.mark.parametrize(
        ("name", "body"),
        [
            ("backbone.stem.0.conv.weight", "RTMPose"),
            ("backbone.patch_embed.projection.weight", "ViTPose"),
            ("backbone.stem.branch1.0.conv.weight", "Lite-HRNet"),
            ("keypoint_head.deconv_layers.0.weight", "SimpleBaseline"),
        ],
    )
    def test_another_body_is_named_as_what_it_seems_to_be(self, name: str, body: str, tmp_path: Path) -> None:
        torch.save({"state_dict": {name: torch.zeros(3, 3), "head.cls.weight": torch.zeros(2)}}, tmp_path / "w.pth")
        with pytest.raises(ValueError, match=f"seems to hold .*{body}"):
            load_checkpoint(tmp_path / "w.pth", network="hrnet_w32", size=(256, 192))
        assert seems_to_be({"something": torch.zeros(1)}) == ""

    def test_classes_of_another_framework_are_not_made_and_the_way_out_is_printed(self, tmp_path: Path) -> None:
        torch.save({"state_dict": {}, "message_hub": Path("x")}, tmp_path / "w.pth")
        with pytest.raises(ValueError, match="weights_only=False") as refused:
            load_checkpoint(tmp_path / "w.pth")
        assert "may be code and is not run" in str(refused.value)

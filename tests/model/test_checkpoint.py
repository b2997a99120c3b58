import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lehrnet.model import create_model
from lehrnet.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lehrnet.pose.spec import COCO, MPII


@pytest.fixture
def saved(tiny_checkpoint, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "weights.safetensors", tiny_checkpoint)
    return tmp_path / "weights.safetensors"


def test_a_checkpoint_comes_back_whole(saved: Path, tiny_checkpoint) -> None:
    loaded = load_checkpoint(saved)
    assert (loaded.spec, loaded.note) == (tiny_checkpoint.spec, tiny_checkpoint.note)
    assert loaded.network.config == tiny_checkpoint.network.config
    assert not loaded.network.training
    for name, tensor in tiny_checkpoint.network.state_dict().items():
        torch.testing.assert_close(loaded.network.state_dict()[name], tensor, rtol=0, atol=0)


def test_half_precision_halves_the_file_and_is_read_into_single(saved: Path, tiny_checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "half.safetensors", tiny_checkpoint, half=True)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.75 * saved.stat().st_size  # tiny: names weigh too
    loaded = load_checkpoint(tmp_path / "half.safetensors").network.state_dict()
    for name, tensor in tiny_checkpoint.network.state_dict().items():
        assert loaded[name].dtype == tensor.dtype
        torch.testing.assert_close(loaded[name], tensor, rtol=1e-3 if tensor.ndim > 1 else 0, atol=1e-6)


def test_a_plain_state_dict_is_read_when_its_network_is_named(tmp_path: Path) -> None:
    network = create_model("lehrnet_w16", joints=16)
    wrapped = {"state_dict": {f"module.{name}": tensor for name, tensor in network.state_dict().items()}, "epoch": 3}
    torch.save(wrapped, tmp_path / "weights.pth")
    loaded = load_checkpoint(tmp_path / "weights.pth", network="lehrnet_w16")
    assert loaded.spec == MPII
    torch.testing.assert_close(loaded.network.head.weight, network.head.weight)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    (tmp_path / "weights.pth").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="cannot be read safely|can be read safely"):
        load_checkpoint(tmp_path / "weights.pth", network="lehrnet_w16")
    assert not (tmp_path / "sprung").exists()


def test_a_truncated_file_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        load_checkpoint(saved)


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_text("not weights")
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        load_checkpoint(tmp_path / "weights.safetensors")


def test_a_graph_is_sent_to_import(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"graph")
    with pytest.raises(ValueError, match=r"is an ONNX graph, expected a checkpoint: `lehrnet import"):
        load_checkpoint(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("stage4.exchanges.0.paths.0.1.0.conv.weight"), "missing stage4"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "surplus extra"),
        (lambda tensors: tensors.update({"stem.first.norm.bias": torch.zeros(3)}), r"shape \(3,\), expected \(64,\)"),
        (lambda tensors: tensors.pop("head.weight"), "missing head.weight"),
    ],
)
def test_tensors_that_do_not_fit_are_named(saved: Path, change, message: str) -> None:
    from safetensors import safe_open

    with safe_open(saved, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(saved)
    change(tensors)
    save_file(tensors, saved, metadata)
    with pytest.raises(ValueError, match=message):
        load_checkpoint(saved)


def test_foreign_safetensors_ask_for_their_network(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="name its network with --network"):
        load_checkpoint(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="has no tensor head.weight"):
        load_checkpoint(tmp_path / "other.safetensors", network="lehrnet_w32")


def test_joints_that_do_not_match_are_refused(saved: Path, tiny_checkpoint) -> None:
    with pytest.raises(ValueError, match="has 17 joints, expected 16"):
        load_checkpoint(saved, joints=16)
    with pytest.raises(ValueError, match="the network has 17 joints, but mpii16 has 16"):
        replace(tiny_checkpoint, spec=MPII)
    assert Checkpoint(tiny_checkpoint.network, COCO).spec == COCO


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*weights\.safetensors"):
        load_checkpoint(tmp_path / "weights.safetensors")


def test_a_failed_write_leaves_the_old_checkpoint(saved: Path, tiny_checkpoint, monkeypatch) -> None:
    before = saved.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("lehrnet.model.checkpoint.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(saved, tiny_checkpoint)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]

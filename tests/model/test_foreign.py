"""Checkpoints as people have them: what other programs saved, and what it does not say."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel

from lehrnet.cli import main
from lehrnet.model.checkpoint import ASSUMED_SIZE, load_checkpoint
from lehrnet.pose.spec import PoseSpec

TINY = "tiny"


def prefixed(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


class TestAsPeopleHaveThem:
    @pytest.mark.parametrize(
        "prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod.", "model.module.", "net.", "model.model."]
    )
    def test_prefixes_of_what_wrapped_the_network_are_taken_off(self, network, prefix: str, tmp_path: Path) -> None:
        torch.save(prefixed(network.state_dict(), prefix), tmp_path / "weights.pt")
        loaded = load_checkpoint(tmp_path / "weights.pt", network=TINY, size=(128, 96))
        torch.testing.assert_close(loaded.network.state_dict(), network.state_dict(), rtol=0, atol=0)

    @pytest.mark.parametrize(
        "key", ["state_dict", "model", "model_state_dict", "ema", "ema_state_dict", "network", "state_dict_ema"]
    )
    def test_the_usual_keys_are_found_beside_other_things(self, network, key: str, tmp_path: Path, caplog) -> None:
        optimizer = torch.optim.Adam(network.parameters()).state_dict()
        content = {"epoch": 3, "optimizer": optimizer, "args": [1, "a"], key: prefixed(network.state_dict(), "module.")}
        torch.save(content, tmp_path / "weights.pt")
        loaded = load_checkpoint(tmp_path / "weights.pt", network=TINY, size=(128, 96))
        torch.testing.assert_close(loaded.network.state_dict(), network.state_dict(), rtol=0, atol=0)
        assert f"the weights under [{key!r}] were taken" in caplog.text

    def test_of_two_sets_of_weights_the_documented_one_is_taken_and_said(self, network, tmp_path: Path, caplog) -> None:
        average = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
        torch.save({"ema": average, "state_dict": network.state_dict()}, tmp_path / "weights.pt")
        loaded = load_checkpoint(tmp_path / "weights.pt", network=TINY, size=(128, 96))
        torch.testing.assert_close(loaded.network.head.weight, network.head.weight)
        assert "under ['state_dict'] were taken; 'ema' beside it was not" in caplog.text

    @pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.ckpt", "w.pth.tar", "w.tar", "w.bin", "w", "w.safetensors"])
    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_file_is_judged_by_its_content(self, network, name: str, zipped: bool, tmp_path: Path) -> None:
        torch.save(network.state_dict(), tmp_path / name, _use_new_zipfile_serialization=zipped)
        loaded = load_checkpoint(tmp_path / name, network=TINY, size=(128, 96))
        torch.testing.assert_close(loaded.network.head.weight, network.head.weight)

    def test_safetensors_under_another_name_are_read(self, network, tmp_path: Path) -> None:
        save_file(prefixed(network.state_dict(), "model."), tmp_path / "weights.pth")
        loaded = load_checkpoint(tmp_path / "weights.pth", network=TINY, size=(128, 96))
        torch.testing.assert_close(loaded.network.state_dict(), network.state_dict(), rtol=0, atol=0)

    def test_missing_counts_of_batches_are_filled(self, network, tmp_path: Path) -> None:
        state = {n: t for n, t in network.state_dict().items() if not n.endswith("num_batches_tracked")}
        torch.save(state, tmp_path / "weights.pt")
        loaded = load_checkpoint(tmp_path / "weights.pt", network=TINY, size=(128, 96)).network
        assert loaded.state_dict()["stem.first.norm.num_batches_tracked"] == 0
        torch.testing.assert_close(loaded.head.weight, network.head.weight)

    def test_an_averaged_model_is_read(self, network, tmp_path: Path) -> None:
        torch.save(AveragedModel(network).state_dict(), tmp_path / "weights.pt")
        loaded = load_checkpoint(tmp_path / "weights.pt", network=TINY, size=(128, 96))
        torch.testing.assert_close(loaded.network.head.weight, network.head.weight)

    def test_a_prefix_that_not_every_name_bears_stays(self, network, tmp_path: Path) -> None:
        state = prefixed(network.state_dict(), "model.")
        torch.save({**state, "loss.weight": torch.ones(1)}, tmp_path / "weights.pt")
        with pytest.raises(ValueError, match=r"has no tensor head\.weight"):
            load_checkpoint(tmp_path / "weights.pt", network=TINY)

    def test_shared_storage_is_not_shared_any_more(self, network, tmp_path: Path) -> None:
        state = network.state_dict()
        state["stem.second.norm.bias"] = state["stem.first.norm.bias"]
        torch.save(state, tmp_path / "weights.pt")
        loaded = load_checkpoint(tmp_path / "weights.pt", network=TINY, size=(128, 96)).network.state_dict()
        assert loaded["stem.second.norm.bias"].data_ptr() != loaded["stem.first.norm.bias"].data_ptr()


class TestWhatAPlainStateDictDoesNotSay:
    @pytest.fixture
    def plain(self, network, tmp_path: Path) -> Path:
        torch.save(network.state_dict(), tmp_path / "plain.pt")
        return tmp_path / "plain.pt"

    def test_an_input_size_that_nobody_named_is_said_and_noted(self, plain: Path, caplog) -> None:
        loaded = load_checkpoint(plain, network=TINY)
        expected = "the input size was not in the file: 256x192 was assumed (set --size)"
        assert loaded.spec.input_size == (256, 192)
        assert expected in loaded.note
        assert "'quarter' decoding and ImageNet's normalization assumed" in loaded.note
        assert expected in caplog.text

    def test_a_size_and_a_decoding_that_were_named_are_taken(self, plain: Path, caplog) -> None:
        loaded = load_checkpoint(plain, network=TINY, size=(128, 96), decode="dark")
        assert loaded.spec == PoseSpec(input_size=(128, 96), decode="dark")
        assert ASSUMED_SIZE not in loaded.note + caplog.text

    def test_a_size_that_no_network_takes_is_refused(self, plain: Path) -> None:
        with pytest.raises(ValueError, match=r"input size is \(100, 96\), expected .* multiples of 32"):
            load_checkpoint(plain, network=TINY, size=(100, 96))

    def test_a_checkpoint_of_ours_is_not_contradicted(self, tiny_content: bytes) -> None:
        path = Path("tiny.safetensors")
        assert load_checkpoint(path, content=tiny_content, size=(64, 64), decode="quarter").spec.input_size == (64, 64)
        with pytest.raises(ValueError, match="128x96 was asked for, but .* trained at 64x64; leave --size out"):
            load_checkpoint(path, content=tiny_content, size=(128, 96))
        with pytest.raises(ValueError, match="'dark' was asked for, .* by 'quarter'; leave --decode out"):
            load_checkpoint(path, content=tiny_content, decode="dark")

    def test_the_bundle_has_the_size_that_was_named(self, plain: Path, tmp_path: Path) -> None:
        pytest.importorskip("onnxsim")
        out = tmp_path / "bundle"
        assert main(["export", str(plain), "--network", TINY, "--size", "128x96", "--out", str(out)]) == 0
        assert json.loads((out / "bundle.json").read_text())["pose"]["input_size"] == [128, 96]
        assert "crops of 128x96" in (out / "README.md").read_text()
        assert ASSUMED_SIZE not in (out / "README.md").read_text()

    def test_the_bundle_s_card_warns_of_a_size_that_was_assumed(self, plain: Path, tmp_path: Path) -> None:
        pytest.importorskip("onnxsim")
        assert main(["export", str(plain), "--network", TINY, "--out", str(tmp_path / "bundle")]) == 0
        card = (tmp_path / "bundle" / "README.md").read_text()
        assert "**Warning: the input size was not in the file: 256x192 was assumed (set --size)" in card

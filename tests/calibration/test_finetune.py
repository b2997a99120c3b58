from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxsim")

from lehrnet.calibration import finetune as module  # noqa: E402
from lehrnet.calibration.finetune import RoundedConv, Tuning, finetune  # noqa: E402
from lehrnet.calibration.quantize import fp16_exact, quantize_weight  # noqa: E402

SCALES = {"stem.second.pointwise": 0.02, "stage2.exchanges.0.branches.0.0.first.pointwise": 0.02, "head": 0.02}


@pytest.fixture
def crops() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((6, 3, 64, 64), dtype=np.float32)


def heatmaps(network, crops):
    with torch.inference_mode():
        return network(torch.from_numpy(crops))


def test_a_network_that_learns_nothing_comes_back_as_it_was(tiny_checkpoint, crops, tmp_path: Path) -> None:
    nothing = Tuning(steps=1, batch=2, learning_rate=1e-20)
    same = finetune(tiny_checkpoint.network, (64, 64), SCALES, crops, tuning=nothing, state=tmp_path / "state")
    expected = heatmaps(tiny_checkpoint.network, crops)
    assert (heatmaps(same, crops) - expected).abs().max() < 1e-4 * (expected.max() - expected.min())


def test_rounding_equals_the_quantizer_s() -> None:
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(4, 6, 1, bias=False)
    x = torch.randn(1, 4, 5, 5)
    whole, scales = quantize_weight(conv.weight.detach().numpy())
    weight = torch.from_numpy(whole * scales[:, None, None, None])
    scale = float(fp16_exact(np.array(0.03)))
    expected = torch.nn.functional.conv2d((x / scale).round().clamp(-127, 127) * scale, weight)
    assert (RoundedConv(conv, scale)(x) - expected).abs().max() < 5e-3  # scales in FP16 there


def test_it_drifts_less_after_learning(tiny_checkpoint, crops, tmp_path: Path) -> None:
    losses: list[float] = []
    tuning = Tuning(steps=30, batch=6, learning_rate=1e-3)
    watch = lambda _, loss: losses.append(loss)  # noqa: E731
    scales = dict.fromkeys(SCALES, 0.2)  # coarse: there is much to gain
    finetune(tiny_checkpoint.network, (64, 64), scales, crops, tuning=tuning, state=tmp_path / "state", watch=watch)
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_a_killed_run_goes_on_to_the_same_weights(tiny_checkpoint, crops, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "SAVE_EVERY", 2)
    tuning = Tuning(steps=5, batch=3)
    network, state = tiny_checkpoint.network, tmp_path / "state"
    unbroken = finetune(network, (64, 64), SCALES, crops, tuning=tuning, state=tmp_path / "other")

    def kill(step: int, _: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(network, (64, 64), SCALES, crops, tuning=tuning, state=state, watch=kill)
    resumed = finetune(network, (64, 64), SCALES, crops, tuning=tuning, state=state)
    for name, tensor in unbroken.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, atol=1e-6, rtol=1e-5)
    assert not state.exists()


def test_the_state_of_another_run_is_refused(tiny_checkpoint, crops, tmp_path: Path) -> None:
    torch.save({"identity": "other"}, tmp_path / "state")
    with pytest.raises(ValueError, match="with other settings"):
        finetune(tiny_checkpoint.network, (64, 64), SCALES, crops, tuning=Tuning(steps=1), state=tmp_path / "state")


class TestState:
    @pytest.fixture
    def state(self, tiny_checkpoint, crops, tmp_path: Path, monkeypatch) -> Path:
        """What a killed run left."""
        monkeypatch.setattr(module, "SAVE_EVERY", 1)

        def kill(step: int, _: float) -> None:
            if step == 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.go_on(tiny_checkpoint, crops, tmp_path / "state", kill)
        return tmp_path / "state"

    def go_on(self, checkpoint, crops, state: Path, watch=lambda _, __: None) -> None:
        tuning = Tuning(steps=3, batch=2)
        finetune(checkpoint.network, (64, 64), SCALES, crops, tuning=tuning, state=state, watch=watch)

    @pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut", b"\x80\x02."])
    def test_a_file_that_is_no_state_is_a_sentence(self, tiny_checkpoint, crops, tmp_path: Path, content) -> None:
        (tmp_path / "state").write_bytes(content)
        with pytest.raises(ValueError, match="state cannot be read: it is .*; remove it and start again"):
            self.go_on(tiny_checkpoint, crops, tmp_path / "state")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda state: ["a"], "it holds a list"),
            (lambda state: {}, "identity is missing"),
            (lambda state: {"identity": state["identity"]}, "student is missing"),
            (lambda state: {**state, "step": "1"}, "step is '1', expected a whole number"),
            (lambda state: {**state, "step": 9}, "step is 9, but there are 3"),
            (lambda state: {**state, "student": {}}, "student is not of this network"),
            (lambda state: {**state, "optimizer": []}, "optimizer is a list"),
            (lambda state: {**state, "optimizer": {"state": {0: None}}}, "does not hold exp_avg"),
        ],
    )
    def test_a_state_that_does_not_fit_names_its_key(self, tiny_checkpoint, crops, state, change, message) -> None:
        torch.save(change(torch.load(state, weights_only=True)), state)
        with pytest.raises(ValueError, match=f"state cannot be read: .*{message}"):
            self.go_on(tiny_checkpoint, crops, state)

    def test_code_in_a_state_is_not_run(self, tiny_checkpoint, crops, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self):
                return (Path.touch, (tmp_path / "sprung",))

        torch.save({"identity": Trap()}, tmp_path / "state")
        with pytest.raises(ValueError, match="it holds more than tensors"):
            self.go_on(tiny_checkpoint, crops, tmp_path / "state")
        assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("wrong", [{"learning_rate": float("nan")}, {"learning_rate": float("inf")}, {"seed": -1}])
def test_a_tuning_that_cannot_be_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        Tuning(**wrong)

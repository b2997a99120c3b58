from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxsim")

from lehrnet.calibration import finetune as module  # noqa: E402
from lehrnet.calibration.finetune import RoundedConv, Tuning, finetune  # noqa: E402
from lehrnet.calibration.quantize import fp16_exact, quantise_weight  # noqa: E402

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


def test_rounding_equals_the_quantiser_s() -> None:
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(4, 6, 1, bias=False)
    x = torch.randn(1, 4, 5, 5)
    whole, scales = quantise_weight(conv.weight.detach().numpy())
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
    with pytest.raises(ValueError, match="another fine-tuning"):
        finetune(tiny_checkpoint.network, (64, 64), SCALES, crops, tuning=Tuning(steps=1), state=tmp_path / "state")

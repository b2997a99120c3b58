"""The forms for GPUs, on the CPU: equal to the network, by names that read back."""

import pytest

pytest.importorskip("torch")

import torch

from lehrnet.model import NetworkConfig, PoseNetwork
from lehrnet.runtime.pytorch.forms import FusedUnit, ParallelExchange, TorchForm, all_forms, gpu_network, neighbours

CPU = torch.device("cpu")
FORMS = [form for form in all_forms((False,)) if form.dense_from is None or (form.fused and form.parallel)]


def crops(form: TorchForm, count: int = 2):
    torch.manual_seed(1)
    return torch.randn(count, 3, 64, 64).to(form.number).contiguous(memory_format=form.layout)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@torch.inference_mode()
def test_every_form_is_the_network(form: TorchForm, tiny_checkpoint) -> None:
    made = gpu_network(tiny_checkpoint.network, (64, 64), form, CPU)
    wanted = tiny_checkpoint.network(crops(form))
    torch.testing.assert_close(made(crops(form)), wanted, atol=2e-5 * float(wanted.abs().max()), rtol=1e-5)
    assert any(isinstance(module, FusedUnit) for module in made.modules()) == form.fused
    assert any(isinstance(module, ParallelExchange) for module in made.modules()) == form.parallel


@pytest.mark.parametrize("config", [{"attention": False}, {"attention": False, "light_units": False}])
@torch.inference_mode()
def test_networks_without_attention_too(config: dict, randomized) -> None:
    torch.manual_seed(2)
    network = randomized(PoseNetwork(NetworkConfig(width=8, units=1, modules=(1, 1, 1), **config))).eval()
    form = TorchForm(half=False)
    wanted = network(crops(form))
    torch.testing.assert_close(gpu_network(network, (64, 64), form, CPU)(crops(form)), wanted, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_half_precision_stays_near_and_ema_s_weights_stay_whole(tiny_checkpoint) -> None:
    made = gpu_network(tiny_checkpoint.network, (64, 64), TorchForm(), CPU)
    wanted = tiny_checkpoint.network(crops(TorchForm(half=False)))
    assert float((made(crops(TorchForm())).float() - wanted).abs().max()) < 0.01 * float(wanted.max() - wanted.min())
    units = [module for module in made.modules() if isinstance(module, FusedUnit)]
    assert {weight.dtype for unit in units for weight in unit.weights} == {torch.float32}


@torch.inference_mode()
def test_side_streams_are_forked_and_joined(tiny_checkpoint, monkeypatch) -> None:
    """Each stream waits for the fork, and the main one for each, whatever they compute."""
    said: list[tuple] = []

    class Stream:
        def __init__(self, name: object = "main") -> None:
            self.name = name

        def record_event(self):
            said.append(("record", self.name))
            return self.name

        def wait_event(self, event) -> None:
            said.append((self.name, "waits for", event))

    class Using:
        def __init__(self, stream) -> None:
            said.append(("on", stream.name))

        def __enter__(self) -> None: ...

        def __exit__(self, *_) -> None: ...

    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", Using)
    form = TorchForm(half=False)
    made = gpu_network(tiny_checkpoint.network, (64, 64), form, CPU)
    exchanges = [module for module in made.modules() if isinstance(module, ParallelExchange)]
    for exchange in exchanges:
        exchange.streams = [Stream("a"), Stream("b"), Stream("c")]
    wanted = tiny_checkpoint.network(crops(form))
    torch.testing.assert_close(made(crops(form)), wanted, atol=2e-5 * float(wanted.abs().max()), rtol=1e-5)
    two = [("record", "main"), ("a", "waits for", "main"), ("on", "a"), ("record", "a"), ("main", "waits for", "a")]
    assert said[:10] == two * 2  # stage 2: two branches, then two sums
    assert said[-1] == ("record", "main")  # the last sum is one: nothing beside it
    assert len(exchanges) == 3


def test_names_read_back_and_others_are_refused() -> None:
    names = [form.name for form in all_forms()]
    assert len(set(names)) == len(names) == 80
    assert names[0] == "torch_fp16"
    assert all(TorchForm.parse(form.name) == form for form in all_forms())
    assert TorchForm.parse("torch_fp16_dense2_nchw") == TorchForm(dense_from=2, channels_last=False)
    assert [form.name for form in neighbours(half=True)] == [
        "torch_fp16",
        *(f"torch_fp16_dense{branch}" for branch in (3, 2, 1, 0)),
        *("torch_fp16_nchw", "torch_fp16_plain", "torch_fp16_serial"),
    ]
    with pytest.raises(ValueError, match="no form of the network is called 'torch_int8'"):
        TorchForm.parse("torch_int8")

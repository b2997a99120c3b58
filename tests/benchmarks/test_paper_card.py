import json
from pathlib import Path

import pytest

pytest.importorskip("onnxsim")
torch = pytest.importorskip("torch")

from lehrnet.benchmarks import paper_card  # noqa: E402
from lehrnet.benchmarks.rivals import RIVALS  # noqa: E402
from lehrnet.cli import main  # noqa: E402


@pytest.mark.parametrize(
    ("name", "params_m", "macs_g"),
    [
        *(("lite_hrnet_18", 0.1, 0.01), ("lite_hrnet_30", 0.1, 0.01), ("simplebaseline_mobilenetv2", 0.1, 0.03)),
        *(("rtmpose_s", 0.005, 0.005), ("rtmpose_m", 0.005, 0.02)),
    ],
)
def test_a_rival_costs_what_the_paper_prints(name: str, params_m: float, macs_g: float) -> None:
    params, macs = paper_card.counted(name)
    printed = paper_card.printed(name)
    assert params / 1e6 == pytest.approx(printed["params_m"], abs=params_m)
    assert macs / 1e9 == pytest.approx(printed["macs_g"], abs=macs_g)


def test_resnet50_is_counted_by_its_authors_in_units_of_2_to_the_30() -> None:
    params, macs = paper_card.counted("simplebaseline_resnet50")
    transposed = sum(16 * inputs * 256 * cells for inputs, cells in ((2048, 48), (256, 192), (256, 768)))
    assert params / 1e6 == pytest.approx(34.0, abs=0.05)
    assert (macs + 3 * transposed) / 2**30 == pytest.approx(8.9, abs=0.1)


def test_hrnet_is_too() -> None:
    assert paper_card.counted("hrnet_w32")[1] / 2**30 == pytest.approx(7.1, abs=0.05)


def test_rtmpose_gives_two_bins_a_pixel_of_either_side() -> None:
    with torch.inference_mode():
        assert RIVALS["rtmpose_s"]().eval()(torch.zeros(2, 3, 256, 192)).shape == (2, 17, 2 * 192 + 2 * 256)


@pytest.mark.parametrize("name", [name for name in RIVALS if not name.startswith("rtmpose")])
def test_rivals_give_heatmaps_of_a_quarter(name: str) -> None:
    with torch.inference_mode():
        assert RIVALS[name]().eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 17, 16, 16)


def test_the_card_puts_ours_beside_the_paper_s(tmp_path: Path, capsys) -> None:
    kept = tmp_path / "paper.json"
    options = ["--networks", "lite_hrnet_18,lehrnet_w16", "--batch", "1", "--rounds", "1", "--result", str(kept)]
    assert main(["bench", "--paper", *options]) == 0
    assert "| lite_hrnet_18 | 1.131 | 1.1 | 0.199 | 0.2 | 64.8 |" in capsys.readouterr().out
    networks = json.loads(kept.read_text())["networks"]
    assert networks["lite_hrnet_18"]["latency"]["1"]["milliseconds"]["p50"] > 0
    assert networks["lehrnet_w16"]["paper"] == {}


def test_an_unknown_rival_is_named(capsys) -> None:
    assert main(["bench", "--paper", "--networks", "openpose"]) == 2
    assert "no rival is called 'openpose'" in capsys.readouterr().err

"""Run folders: one writer, nothing of a user's overwritten; and settings that cannot be."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lehrnet.cli import main
from lehrnet.model import NetworkConfig, PoseNetwork
from lehrnet.pose.coco import read_coco
from lehrnet.pose.spec import PoseSpec
from lehrnet.training.pack import write_pack
from lehrnet.training.recipe import Recipe
from lehrnet.training.run import Request, train
from lehrnet.training.trainer import BEST, LAST, LOG, STATE, Run

SPEC = PoseSpec(input_size=(64, 64))
RECIPE = Recipe(spec=SPEC, epochs=2, batch=1, average=0.9, weight_decay=0.01)
TINY = NetworkConfig(width=8, units=1, modules=(1, 1, 1))


class TestRunFolder:
    @pytest.fixture
    def request_(self, packed: Path) -> Request:
        return Request((packed,), RECIPE, network="tiny")

    @pytest.mark.parametrize("name", [LAST, BEST, LOG])
    def test_a_new_run_overwrites_nothing(self, request_: Request, tmp_path: Path, name: str) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / name).write_text("mine")
        with pytest.raises(FileExistsError, match=f"holds {name} of another run"):
            train(request_, Run(tmp_path / "run"))
        assert (tmp_path / "run" / name).read_text() == "mine"

    def test_a_file_in_the_place_of_the_folder_is_said(self, request_: Request, tmp_path: Path) -> None:
        (tmp_path / "run").write_text("in the way")
        with pytest.raises(OSError, match="cannot write .*run: File exists; choose a place"):
            train(request_, Run(tmp_path / "run"))

    def test_a_second_trainer_is_refused_with_the_owner_s_number(self, packed: Path, tmp_path: Path, capsys) -> None:
        hold = (
            "import sys; from pathlib import Path; from lehrnet.files import locked\n"
            "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
        )
        command = [sys.executable, "-c", hold, str(tmp_path / "run")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
            assert owner.stdout is not None
            assert owner.stdout.readline() == "held\n"
            arguments = ["train", "--data", str(packed), "--out", str(tmp_path / "run"), "--network", "tiny"]
            assert main([*arguments, "--size", "64x64"]) == 2
            assert f"run is in use by process {owner.pid} on " in capsys.readouterr().err
            owner.communicate("")
        assert not (tmp_path / "run" / STATE).exists()

    def test_a_training_holds_its_folder_to_the_end(self, request_: Request, tmp_path: Path, monkeypatch) -> None:
        refused = []

        def second(*_: object) -> None:
            with pytest.raises(FileExistsError, match="is in use by process"):
                train(request_, Run(tmp_path / "run"))
            refused.append(True)

        monkeypatch.setattr("lehrnet.training.run._show", second)
        train(request_, Run(tmp_path / "run"))
        assert refused

    def test_what_killed_runs_left_half_written_is_removed(self, request_: Request, tmp_path: Path) -> None:
        for name in (BEST, LAST, STATE, LOG, "pack"):
            (tmp_path / "run" / f".{name}.abc123.unfinished").mkdir(parents=True)
        train(request_, Run(tmp_path / "run"))
        assert not list((tmp_path / "run").glob(".*unfinished"))

    def test_a_pack_of_other_folders_beside_the_run_is_not_taken(self, data_folder: Path, tmp_path: Path) -> None:
        write_pack(tmp_path / "run" / "pack", {"other": read_coco(data_folder)}, SPEC)
        with pytest.raises(ValueError, match="was packed from other folders"):
            train(Request((data_folder,), RECIPE, network="tiny"), Run(tmp_path / "run"))

    def test_a_plain_state_dict_can_be_started_from(self, packed: Path, tmp_path: Path) -> None:
        torch.save({"state_dict": PoseNetwork(TINY).state_dict()}, tmp_path / "start.pt")
        train(Request((packed,), RECIPE, network="tiny", start=tmp_path / "start.pt"), Run(tmp_path / "run"))
        assert (tmp_path / "run" / LAST).exists()

    def test_the_checkpoint_to_start_from_is_not_written_over(self, packed: Path, tmp_path: Path) -> None:
        train(Request((packed,), RECIPE, network="tiny"), Run(tmp_path / "run"))
        before = (tmp_path / "run" / LAST).read_bytes()
        again = Request((packed,), RECIPE, network="tiny", start=tmp_path / "run" / LAST, resume=True)
        with pytest.raises(ValueError, match="would overwrite one of the inputs"):
            train(again, Run(tmp_path / "run"))
        assert (tmp_path / "run" / LAST).read_bytes() == before


NAN = float("nan")


class TestSettings:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"seed": -1},
            {"seed": 1 << 70},
            {"time_budget_s": NAN},
            {"time_budget_s": 0.0},
            {"time_budget_s": -3.0},
            {"accumulate": 0},
            {"validate_every": 0},
            {"save_every": -1},
        ],
    )
    def test_a_run_that_cannot_be_is_refused(self, wrong: dict) -> None:
        with pytest.raises(
            ValueError, match=f"{next(iter(wrong)).removesuffix('_s').replace('_', '[_ ]')} is .*expected"
        ):
            Run(Path("run"), **wrong)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"epochs": -1},
            {"epochs": 1.5},
            {"batch": 0},
            {"learning_rate": NAN},
            {"learning_rate": float("inf")},
            {"weight_decay": NAN},
            {"average": 1.0},
            {"warm_up": NAN},
            {"peak": -1.0},
            {"schedule": "guess"},
        ],
    )
    def test_a_recipe_that_cannot_be_is_refused(self, wrong: dict) -> None:
        with pytest.raises(ValueError, match="expected"):
            replace(RECIPE, **wrong)

    @pytest.mark.parametrize("share", [NAN, -1.0, float("inf"), 1e9])
    def test_a_mix_that_cannot_be_is_refused(self, share: float) -> None:
        with pytest.raises(ValueError, match="the mix shows 'a' .* times, expected 0 to 1000"):
            Request((), RECIPE, mix={"a": share})

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--time-budget", "nan"],
            ["--time-budget", "0"],
            ["--epochs", "-1"],
            ["--lr", "nan"],
            ["--seed", "-1"],
            ["--mix", "one=nan"],
            ["--accumulate", "0"],
            ["--validate-every", "0"],
            ["--size", "65536x65536"],
        ],
    )
    def test_the_command_refuses_them_before_anything_is_written(self, packed, tmp_path, capsys, arguments) -> None:
        try:
            code: object = main(["train", "--data", str(packed), "--out", str(tmp_path / "run"), *arguments])
        except SystemExit as stop:  # argparse
            code = stop.code
        assert code == 2
        assert "expected" in capsys.readouterr().err
        assert not (tmp_path / "run").exists()

"""The trainer on a tiny network and a tiny pack: a step takes a tenth of a second."""

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lehrnet.model import NetworkConfig, PoseNetwork, create_model
from lehrnet.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lehrnet.model.config import variant
from lehrnet.pose.augment import Augmentation
from lehrnet.pose.coco import read_coco
from lehrnet.pose.spec import MPII, PoseSpec
from lehrnet.training.batches import Batches
from lehrnet.training.loss import heatmap_loss
from lehrnet.training.pack import Pack, read_pack, write_pack
from lehrnet.training.recipe import RECIPES, Recipe
from lehrnet.training.run import Request, pack_folders, recipe_named, train
from lehrnet.training.trainer import Run, Trainer

SPEC = PoseSpec(input_size=(64, 64))
TINY = Recipe(spec=SPEC, epochs=4, batch=2, schedule="cosine", average=0.9, weight_decay=0.01)


@pytest.fixture
def pack(data_folder: Path, tmp_path: Path) -> Pack:
    people = read_coco(data_folder)
    write_pack(tmp_path / "pack", {"one": people, "two": people}, SPEC)
    return read_pack(tmp_path / "pack")


def trainer(pack: Pack, out: Path, recipe: Recipe = TINY, **changes) -> Trainer:
    torch.manual_seed(0)
    network = PoseNetwork(NetworkConfig(width=8, units=1, modules=(1, 1, 1)))
    people = Batches(pack, recipe.spec, torch.device("cpu"))
    return Trainer(network, recipe, people, people, Run(out, **changes))


class TestPack:
    def test_a_pack_holds_everyone_with_keypoints(self, pack: Pack) -> None:
        assert (len(pack), pack.size, pack.keypoints.shape) == (4, (80, 80), (4, 17, 3))

    def test_a_keypoint_lies_where_it_lay_in_the_photograph(self, pack: Pack) -> None:
        # The box is 30 x 50 at (10, 20): 50 px are 64 / 1.25 px of the view, and its middle is the crop's.
        scale = 1.25 * 50 / 64
        expected = (np.array([20, 40]) - [24.5, 44.5]) / scale + 39.5
        np.testing.assert_allclose(pack.keypoints[0, 0, :2], expected, atol=1e-6)
        np.testing.assert_allclose(pack.areas[0], 1500 / scale**2)

    def test_pictures_are_decoded_in_rgb(self, data_folder: Path, tmp_path: Path) -> None:
        import cv2

        for path in (data_folder / "images").iterdir():
            cv2.imwrite(str(path), np.full((90, 80, 3), (250, 100, 10), np.uint8))  # BGR: blue
        write_pack(tmp_path / "blue", {"coco": read_coco(data_folder)}, SPEC)
        with ThreadPoolExecutor(2) as threads:
            crops = read_pack(tmp_path / "blue").decode(np.array([1, 0]), threads)
        np.testing.assert_allclose(crops[0, 40, 40], [10, 100, 250], atol=3)

    def test_an_existing_folder_is_left_alone(self, data_folder: Path, pack: Pack, tmp_path: Path) -> None:
        with pytest.raises(FileExistsError, match="exists already"):
            write_pack(tmp_path / "pack", {"coco": read_coco(data_folder)}, SPEC)

    def test_a_truncated_photograph_is_left_out_and_named(self, data_folder: Path, tmp_path: Path, caplog) -> None:
        (data_folder / "images" / "000000000002.jpg").write_bytes(b"\xff\xd8\xff cut")
        packed = write_pack(tmp_path / "packed", {"coco": read_coco(data_folder)}, SPEC)
        assert (packed.people, len(packed.bad)) == (1, 1)
        assert "000000000002.jpg is cut off" in packed.bad[0]
        assert "1 pictures were left out, or people of them; the first:" in caplog.text
        assert len(read_pack(tmp_path / "packed")) == 1

    def test_where_no_photograph_can_be_read_nothing_is_left(self, data_folder: Path, tmp_path: Path) -> None:
        for path in (data_folder / "images").iterdir():
            path.write_bytes(b"\xff\xd8\xff cut")
        with pytest.raises(ValueError, match="nobody with keypoints is left: there is nothing to pack"):
            write_pack(tmp_path / "packed", {"coco": read_coco(data_folder)}, SPEC)
        assert not list(tmp_path.glob("*packed*"))

    def test_damaged_and_foreign_folders_are_refused(self, pack: Pack, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="is no pack"):
            read_pack(tmp_path)
        (tmp_path / "pack" / "pack_000.npz").write_bytes(b"PK\x03\x04 cut")
        with pytest.raises(ValueError, match=r"pack_000\.npz cannot be read"):
            read_pack(tmp_path / "pack")


class TestBatches:
    def test_a_step_is_the_same_in_every_run_and_differs_from_the_next(self, pack: Pack) -> None:
        first, second = (Batches(pack, SPEC, torch.device("cpu"), seed=3) for _ in range(2))
        torch.testing.assert_close(
            first.of_step(5, 2, Augmentation()).crops, second.of_step(5, 2, Augmentation()).crops
        )
        assert not torch.equal(first.of_step(5, 2, Augmentation()).crops, first.of_step(6, 2, Augmentation()).crops)

    def test_joints_without_a_label_teach_nothing(self, pack: Pack) -> None:
        pack.keypoints[:, 3, 2] = 0
        weights = Batches(pack, SPEC, torch.device("cpu")).of_step(0, 2, Augmentation()).weights
        assert weights[:, 3].sum() == 0
        assert weights[:, 0].sum() > 0

    def test_a_pack_of_another_skeleton_is_refused(self, pack: Pack) -> None:
        with pytest.raises(ValueError, match="the pack has 17 joints, but mpii16 has 16"):
            Batches(pack, MPII, torch.device("cpu"))

    def test_a_pack_whose_every_image_is_held_out_is_refused(self, pack: Pack) -> None:
        with pytest.raises(ValueError, match="no people are left to train on"):
            Batches(pack.take(np.zeros(4, bool)), SPEC, torch.device("cpu"))

    def test_crops_decoded_ahead_are_those_decoded_at_once(self, pack: Pack) -> None:
        decoded, encoded = (Batches(pack, SPEC, torch.device("cpu"), room=room) for room in (1 << 30, 0))
        for step in (0, 1, 2, 5, 4):  # in order, and out of it
            for part in ("crops", "heatmaps", "weights"):
                one, other = (getattr(people.of_step(step, 2, Augmentation()), part) for people in (decoded, encoded))
                torch.testing.assert_close(one, other, rtol=0, atol=0)

    def test_a_mix_shows_a_folder_as_often_as_it_says(self, pack: Pack) -> None:
        people = Batches(pack, SPEC, torch.device("cpu"), mix={"one": 2, "two": 0.5})
        assert people.epoch_people == 5
        for epoch in range(3):
            shown = np.concatenate([people._rows(step, 1) for step in range(5 * epoch, 5 * epoch + 5)])
            assert [np.isin(pack.sources[shown], name).sum() for name in ("one", "two")] == [4, 1]

    @pytest.mark.parametrize("mix", [{"three": 1}, {"one": -1}])
    def test_a_mix_that_does_not_fit_is_answered_with_the_folders(self, pack: Pack, mix: dict[str, float]) -> None:
        with pytest.raises(ValueError, match="expected shares from 0 for one, two"):
            Batches(pack, SPEC, torch.device("cpu"), mix=mix)


class TestRecipe:
    def test_coco_is_the_papers(self) -> None:
        recipe = recipe_named("coco")
        assert (recipe.epochs, recipe.batch, recipe.learning_rate, recipe.spec.input_size) == (
            300,
            16,
            1e-3,
            (256, 192),
        )
        rates = [recipe.rate(epoch / 300) for epoch in (0, 119, 120, 170, 200, 260)]
        np.testing.assert_allclose(rates, [1e-3, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7])
        assert (recipe.augmentation.rotation_deg, recipe.augmentation.scale) == (45, (0.65, 1.35))

    def test_mpii_is_the_papers(self) -> None:
        recipe = recipe_named("mpii")
        assert (recipe.epochs, recipe.batch, recipe.milestones, recipe.spec) == (210, 8, (170, 200), MPII)

    def test_a_cosine_rises_and_falls_to_nothing(self) -> None:
        recipe = RECIPES["short"]
        assert recipe.rate(0) == 0
        assert recipe.rate(recipe.warm_up) == pytest.approx(recipe.learning_rate)
        assert recipe.rate(1) == pytest.approx(0)

    def test_an_unknown_recipe_is_answered_with_the_known_ones(self) -> None:
        with pytest.raises(ValueError, match="there are coco, mpii, short, quick"):
            recipe_named("long")


class TestTrainer:
    def test_the_loss_falls(self, pack: Pack, tmp_path: Path) -> None:
        recipe = replace(TINY, epochs=15, learning_rate=3e-3)
        losses: list[float] = []
        trainer(pack, tmp_path / "run", recipe).train(lambda report: losses.append(report.loss))
        assert len(losses) == 30
        assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])

    def test_a_killed_run_ends_where_an_unbroken_one_ends(self, pack: Pack, tmp_path: Path) -> None:
        whole = trainer(pack, tmp_path / "whole", save_every=3)
        whole.train()

        class KillError(Exception):
            pass

        def kill_at_5(report) -> None:
            if report.step == 5:
                raise KillError

        with pytest.raises(KillError):
            trainer(pack, tmp_path / "broken", save_every=3).train(kill_at_5)
        resumed = trainer(pack, tmp_path / "broken", save_every=3)
        resumed.resume()
        assert resumed.step == 3
        resumed.train()
        for name, tensor in whole.network.state_dict().items():
            torch.testing.assert_close(resumed.network.state_dict()[name], tensor, rtol=0, atol=1e-6)
        last = [load_checkpoint(tmp_path / run / "last.safetensors").network.head.weight for run in ("whole", "broken")]
        torch.testing.assert_close(last[0], last[1], rtol=0, atol=1e-6)

    def test_a_time_budget_ends_the_schedule(self, pack: Pack, tmp_path: Path, monkeypatch) -> None:
        clock = itertools.count(step=0.25)  # s: a step takes as long however busy the machine is
        monkeypatch.setattr("lehrnet.training.trainer.time.monotonic", lambda: next(clock))
        reports = []
        recipe = replace(TINY, epochs=100_000)
        trainer(pack, tmp_path / "run", recipe, time_budget_s=2).train(reports.append)
        assert reports[-1].progress == 1
        assert reports[-1].rate < reports[0].rate
        assert len(reports) == 8

    def test_a_loss_that_is_nan_stops_the_run_and_keeps_the_batch(self, pack: Pack, tmp_path: Path) -> None:
        broken = trainer(pack, tmp_path / "run")
        with torch.no_grad():
            broken.network.head.bias.fill_(float("nan"))  # pyright: ignore[reportOptionalMemberAccess]
        with pytest.raises(RuntimeError, match="the loss is nan at step 0; its batch is kept in"):
            broken.train()
        kept = torch.load(tmp_path / "run" / "nan_at_step_0.pt", weights_only=True)
        assert kept["crops"].shape == (2, 3, 64, 64)

    def test_the_log_has_a_line_a_step_and_the_best_is_kept(self, pack: Pack, tmp_path: Path) -> None:
        best = trainer(pack, tmp_path / "run", validate_every=2).train()
        lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == list(range(1, 9))
        assert best == max(line["figures"]["AP"] for line in lines if line["figures"] is not None)
        kept = load_checkpoint(tmp_path / "run" / "best.safetensors").spec
        assert replace(kept, min_score=SPEC.min_score) == SPEC

    def test_another_recipe_does_not_resume_it(self, pack: Pack, tmp_path: Path) -> None:
        trainer(pack, tmp_path / "run").train()
        with pytest.raises(ValueError, match=r"learning_rate was 0\.001, now 0\.002; resume it as it began"):
            trainer(pack, tmp_path / "run", replace(TINY, learning_rate=2e-3)).resume()

    def test_a_run_that_is_killed_at_once_can_be_resumed(self, pack: Pack, tmp_path: Path) -> None:
        def kill(_report) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            trainer(pack, tmp_path / "run").train(kill)
        again = trainer(pack, tmp_path / "run")
        again.resume()
        again.train()
        assert [json.loads(line)["step"] for line in (tmp_path / "run" / "log.jsonl").open()] == list(range(1, 9))

    def test_a_board_shows_curves_and_pictures(self, pack: Pack, tmp_path: Path) -> None:
        accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
        from lehrnet.training.board import Board

        watched = trainer(pack, tmp_path / "run", validate_every=4)
        watched.train(Board(watched).show)
        events = accumulators.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
        events.Reload()
        assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 9))
        assert [event.step for event in events.Scalars("held_out/AP")] == [4, 8]
        assert events.Images("held_out/heatmaps")

    @pytest.mark.slow
    def test_a_compiled_network_learns_the_same(self, pack: Pack, tmp_path: Path) -> None:
        losses: dict[bool, list[float]] = {False: [], True: []}
        for compiled, kept in losses.items():
            recipe = replace(TINY, epochs=1)
            run = trainer(pack, tmp_path / f"run{compiled}", recipe, compiled=compiled)
            run.train(lambda report, kept=kept: kept.append(report.loss))
        np.testing.assert_allclose(losses[True], losses[False], rtol=1e-3)


def test_bfloat16_learns_nearly_the_same(pack: Pack, tmp_path: Path) -> None:
    losses: dict[bool, list[float]] = {False: [], True: []}
    for bf16, kept in losses.items():
        run = trainer(pack, tmp_path / f"run{bf16}", replace(TINY, epochs=1), bf16=bf16)
        run.train(lambda report, kept=kept: kept.append(report.loss))
    assert losses[True] != losses[False]
    np.testing.assert_allclose(losses[True], losses[False], rtol=0.05)


def test_the_peak_term_is_least_at_the_wanted_heatmap_and_pulls_from_afar() -> None:
    torch.manual_seed(0)
    wanted = torch.zeros(1, 2, 8, 6)
    wanted[..., 4, 3], wanted[..., 4, 2] = 1.0, 0.6
    weights = torch.ones(1, 2)
    at_best = wanted.clone().requires_grad_()
    heatmap_loss(at_best, wanted, weights, peak=0.1).backward()
    assert at_best.grad is not None
    assert at_best.grad.abs().max() < 1e-6
    pulls = []
    for peak in (0.0, 0.1):
        empty = torch.zeros_like(wanted, requires_grad=True)
        heatmap_loss(empty, wanted, weights, peak).backward()
        assert empty.grad is not None
        pulls.append(-float(empty.grad[0, 0, 4, 3]))
    assert pulls[1] > 10 * pulls[0] > 0


def test_the_loss_is_the_mean_square_over_labelled_joints() -> None:
    found, wanted = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    wanted[0, 0], wanted[1, 2] = 2, 100
    weights = torch.tensor([[1.0, 1, 0], [1, 1, 0]])
    assert float(heatmap_loss(found, wanted, weights)) == pytest.approx(4 / 4)
    assert float(heatmap_loss(found, wanted, 0 * weights)) == 0


def test_a_run_goes_from_folders_to_a_checkpoint(data_folder: Path, tmp_path: Path) -> None:
    request = Request((data_folder,), replace(TINY, epochs=1, batch=1), network="lehrnet_w16")
    train(request, Run(tmp_path / "run"))
    assert load_checkpoint(tmp_path / "run" / "last.safetensors").network.config.width == 16
    with pytest.raises(FileExistsError, match="go on with --resume"):
        train(request, Run(tmp_path / "run"))


def test_nothing_to_resume_is_said(data_folder: Path, tmp_path: Path) -> None:
    request = Request((data_folder,), replace(TINY, batch=1), network="lehrnet_w16", resume=True)
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        train(request, Run(tmp_path / "run"))


class TestStart:
    def test_a_lean_checkpoint_grows_ema_where_that_was_asked(self, data_folder: Path, tmp_path: Path, caplog) -> None:
        lean = Checkpoint(PoseNetwork(NetworkConfig(width=16, attention=False)), SPEC)
        save_checkpoint(tmp_path / "lean.safetensors", lean)
        recipe = replace(TINY, epochs=1, batch=1)
        request = Request((data_folder,), recipe, network="lehrnet_w16", start=tmp_path / "lean.safetensors")
        train(request, Run(tmp_path / "run"))
        assert load_checkpoint(tmp_path / "run" / "last.safetensors").network.config == variant("lehrnet_w16")
        assert "has no EMA: it is added" in caplog.text

    def test_another_network_is_refused(self, data_folder: Path, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "w16.safetensors", Checkpoint(create_model("lehrnet_w16"), SPEC))
        request = Request((data_folder,), TINY, network="lehrnet_w32", start=tmp_path / "w16.safetensors")
        with pytest.raises(ValueError, match="does not hold a lehrnet_w32"):
            train(request, Run(tmp_path / "run"))


def test_folders_of_the_same_name_cannot_be_told_apart(data_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two data folders are called"):
        pack_folders([data_folder, data_folder], tmp_path / "pack", SPEC)

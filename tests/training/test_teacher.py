"""A teacher: geometry between its crop and the student's, its share of the loss, and what a student gains."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lehrnet.cli import main
from lehrnet.model import NetworkConfig, PoseNetwork
from lehrnet.model.checkpoint import load_checkpoint, save_checkpoint
from lehrnet.pose.augment import NONE
from lehrnet.pose.coco import read_coco
from lehrnet.pose.frame import crop_to_cells
from lehrnet.pose.heatmap import FRAMES, Frame, encode
from lehrnet.pose.skeleton import Skeleton
from lehrnet.pose.spec import PoseSpec
from lehrnet.training.batches import Batches
from lehrnet.training.loss import heatmap_loss, taught_loss
from lehrnet.training.pack import read_pack, write_pack
from lehrnet.training.recipe import Recipe
from lehrnet.training.teacher import Teacher, read_teacher
from lehrnet.training.trainer import Run, Trainer

ONE = Skeleton("one", ("nose",), (0.1,), (), (), ())
PLAIN = PoseSpec(ONE, (128, 96), mean=(0, 0, 0), std=(1, 1, 1))
TINY = NetworkConfig(width=8, units=1, modules=(1, 1, 1))
DENSE = replace(TINY, light_units=False, light_convs=False, attention=False)  # HRNet's body


def blob(place: tuple[float, float], spec: PoseSpec) -> Tensor:
    """A crop with a spot at a place in px."""
    height, width = spec.input_size
    return torch.from_numpy(encode(np.array([[place] * 3]), (height, width), 4.0))


def spot_finder(spec: PoseSpec) -> Teacher:
    """A teacher that finds the spot: its centre of mass, as a Gaussian of its own cells."""

    def heatmaps_of(crops: Tensor) -> Tensor:
        cells = crop_to_cells(centre(crops[:, :1].numpy()), spec)
        return torch.from_numpy(encode(cells, spec.grid, spec.sigma))

    return Teacher(heatmaps_of, spec, "0" * 64)


def centre(maps: np.ndarray) -> np.ndarray:
    """Centres of mass (N, K, 2), x and y, of maps (N, K, h, w)."""
    total = maps.sum((2, 3))
    x = (maps * np.arange(maps.shape[3])).sum((2, 3)) / total
    y = (maps * np.arange(maps.shape[2])[:, None]).sum((2, 3)) / total
    return np.stack((x, y), 2)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("taught", FRAMES)
@pytest.mark.parametrize(("size", "sigma"), [((128, 96), 2.0), ((256, 192), 2.0), ((64, 64), 1.0)])
def test_what_the_teacher_finds_lies_where_the_student_s_label_would(
    frame: Frame, taught: Frame, size: tuple[int, int], sigma: float
) -> None:
    student = replace(PLAIN, frame=frame)
    teacher = replace(PLAIN, frame=taught, input_size=size, sigma=sigma)
    place = (52.3, 71.8)
    found, sure = spot_finder(teacher).lesson(student)(blob(place, student))
    wanted = crop_to_cells(np.array([[place]]), student)
    np.testing.assert_allclose(centre(found[:, :1].numpy()), wanted, atol=0.06)  # cells
    assert sure.shape == (1, 1)
    assert found.amax() == pytest.approx(1, abs=0.3)  # a coarse grid misses the top


def test_a_finer_teacher_s_gaussians_become_as_wide_as_the_student_s() -> None:
    found, _ = spot_finder(replace(PLAIN, input_size=(256, 192))).lesson(PLAIN)(blob((48, 64), PLAIN))
    spread = found[0, 0].numpy()
    x = centre(spread[None, None])[0, 0, 0]
    variance = (spread.sum(0) * (np.arange(24) - x) ** 2).sum() / spread.sum()
    assert variance**0.5 == pytest.approx(PLAIN.sigma, rel=0.1)


def test_of_one_spec_the_lesson_is_the_teacher_s_heatmaps(tiny_checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "t.safetensors", tiny_checkpoint)
    crops = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    teacher = read_teacher(tmp_path / "t.safetensors", torch.device("cpu"))
    found, sure = teacher.lesson(tiny_checkpoint.spec)(crops)
    with torch.no_grad():
        wanted = tiny_checkpoint.network(crops)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(sure, wanted.amax((2, 3)).clamp(0, 1))


def test_joints_that_the_teacher_does_not_know_are_learnt_from_labels(caplog) -> None:
    two = Skeleton("two", ("tail", "Nose"), (0.1, 0.1), (), (), ())
    found, sure = spot_finder(PLAIN).lesson(replace(PLAIN, skeleton=two))(blob((40, 40), PLAIN))
    assert (found.shape[1], sure[0, 0].item()) == (2, 0)
    assert sure[0, 1] > 0.5
    assert "the teacher does not know tail" in caplog.text
    tail = Skeleton("tail", ("tail",), (0.1,), (), (), ())
    with pytest.raises(ValueError, match="has none of the student's joints: one and tail"):
        spot_finder(PLAIN).lesson(replace(PLAIN, skeleton=tail))


def test_the_loss_is_shared() -> None:
    found, taught = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    sure = torch.tensor([[1.0, 0.5, 0]] * 2)
    labels = torch.tensor(0.3)
    wanted = 0.75 * labels + 0.25 * heatmap_loss(found, taught, sure)
    torch.testing.assert_close(taught_loss(labels, found, taught, sure, 0.25), wanted)


def test_a_student_gains_from_its_teacher_in_as_many_steps(drawn_folder: Path, tmp_path: Path) -> None:
    """On drawn figures of which only the left joints are labelled, an HRNet that learnt all teaches the others."""
    spec = PoseSpec(input_size=(64, 64))
    write_pack(tmp_path / "pack", {"drawn": read_coco(drawn_folder)}, spec)
    pack = read_pack(tmp_path / "pack")
    recipe = Recipe(spec=spec, epochs=16, batch=16, learning_rate=5e-3, schedule="cosine", augmentation=NONE)
    device = torch.device("cpu")

    def trained(
        name: str, people, recipe: Recipe, teacher: Teacher | None = None, config: NetworkConfig = TINY
    ) -> PoseNetwork:
        torch.manual_seed(0)
        batches = Batches(people, spec, device)
        run = Run(tmp_path / name, fused_ops=False)
        trainer = Trainer(PoseNetwork(config), recipe, batches, None, run, teacher=teacher)
        trainer.train()
        return trainer.kept.eval()

    def error(network: PoseNetwork) -> float:
        batch = Batches(pack, spec, device).of_step(0, 24, NONE)
        with torch.no_grad():
            return float(heatmap_loss(network(batch.crops), batch.heatmaps, batch.weights))

    master = trained("teacher", pack, recipe, config=DENSE)
    half = replace(pack, keypoints=pack.keypoints.copy())
    half.keypoints[:, [pair[1] for pair in spec.skeleton.flip_pairs], 2] = 0  # nobody labelled the right side
    teacher = Teacher(master, spec, "1" * 64)
    short = replace(recipe, epochs=8)
    alone = error(trained("alone", half, short))
    taught = error(trained("taught", half, replace(short, teach=0.5), teacher))
    assert error(master) < taught < 0.85 * alone


def test_a_taught_run_is_resumed_with_its_teacher_alone(tiny_checkpoint, packed: Path, tmp_path: Path, capsys) -> None:
    save_checkpoint(tmp_path / "t.safetensors", tiny_checkpoint)
    run = ["train", "--data", str(packed), "--network", "tiny", "--size", "64x64", "--batch", "1", "--epochs", "1"]
    run += ["--no-fused-ops", "--out", str(tmp_path / "run")]
    assert main([*run, "--teach", "0.3"]) == 2
    assert "--teach is 0.3, but nobody teaches" in capsys.readouterr().err
    assert main([*run, "--teacher", str(tmp_path / "t.safetensors")]) == 0
    assert main([*run, "--teacher", str(tmp_path / "t.safetensors"), "--resume"]) == 0
    assert main([*run, "--resume"]) == 2
    assert "teach was 0.5, now 0.0" in capsys.readouterr().err
    save_checkpoint(tmp_path / "u.safetensors", replace(tiny_checkpoint, note="another"))
    assert main([*run, "--teacher", str(tmp_path / "u.safetensors"), "--resume"]) == 2
    assert "teacher was " in capsys.readouterr().err
    assert load_checkpoint(tmp_path / "run" / "last.safetensors").spec == PoseSpec(input_size=(64, 64))


def test_a_bundle_teaches_by_its_weights_or_by_its_graph(tiny_bundle: Path, packed: Path, tmp_path: Path) -> None:
    from lehrnet.cli.teaching import open_teacher
    from lehrnet.runtime.bundle import WEIGHTS, open_bundle, write_manifest

    device, crops = torch.device("cpu"), torch.randn(1, 3, 64, 64)
    by_weights = open_teacher(tiny_bundle, device, False).lesson(PoseSpec(input_size=(64, 64)))(crops)
    bundle = open_bundle(tiny_bundle)
    (tmp_path / "imported").mkdir()
    (tmp_path / "imported" / "fp32.onnx").write_bytes(bundle.read("fp32"))
    graphs = {"fp32": bundle.artefacts["fp32"]}
    assert WEIGHTS not in graphs
    write_manifest(replace(bundle, root=tmp_path / "imported", artefacts=graphs))
    by_graph = open_teacher(tmp_path / "imported", device, False).lesson(PoseSpec(input_size=(64, 64)))(crops)
    torch.testing.assert_close(by_weights[0], by_graph[0], atol=1e-4, rtol=1e-4)
    assert json.loads((tmp_path / "imported" / "bundle.json").read_text())["input"]["name"] == "crops"

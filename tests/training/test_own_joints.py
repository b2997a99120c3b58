"""From label files of other joints to a pack, a checkpoint and a bundle, whose skeleton travels whole."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lehrnet.cli import main
from lehrnet.model.checkpoint import load_checkpoint
from lehrnet.pose.skeleton import COCO17, Skeleton
from lehrnet.pose.spec import PoseSpec
from lehrnet.runtime.bundle import open_bundle
from lehrnet.training.pack import SKELETON, read_pack
from lehrnet.training.run import pack_folders

DOG = Skeleton(
    "dog3", ("snout", "L_Paw", "R_Paw"), (0.1, 0.2, 0.2), flip_pairs=((1, 2),), limbs=((0, 1), (0, 2)), upper_body=()
)


def with_joints(folder: Path, skeleton: Skeleton = DOG) -> Path:
    """The folder's labels, with its first joints called those of the skeleton."""
    labels = folder / "person_keypoints.json"
    content = json.loads(labels.read_text())
    limbs = [[one + 1, other + 1] for one, other in skeleton.limbs]
    category = {"id": 1, "name": "dog", "keypoints": list(skeleton.joints), "skeleton": limbs}
    content["categories"] = [{**category, "sigmas": list(skeleton.sigmas)}]
    for row in content["annotations"]:
        row["keypoints"] = row["keypoints"][: 3 * len(skeleton)]
    labels.write_text(json.dumps(content))
    return folder


def test_a_pack_keeps_the_skeleton_of_its_folder(data_folder: Path, tmp_path: Path) -> None:
    pack_folders([with_joints(data_folder)], tmp_path / "pack", PoseSpec(input_size=(64, 64)))
    pack = read_pack(tmp_path / "pack")
    assert (pack.skeleton, pack.keypoints.shape[1]) == (DOG, 3)
    (tmp_path / "pack" / SKELETON).unlink()
    assert read_pack(tmp_path / "pack").skeleton is None  # as earlier versions wrote it


def test_a_pack_whose_skeleton_is_of_other_joints_is_refused(packed: Path) -> None:
    content = json.loads((packed / SKELETON).read_text())
    (packed / SKELETON).write_text(json.dumps({**content, "joints": ["nose"], "sigmas": [0.1]}))
    with pytest.raises(ValueError, match=r"skeleton.json: .*flip_pairs name joint"):
        read_pack(packed)


def test_folders_of_other_joints_are_not_packed_together(data_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(data_folder, tmp_path / "dogs", ignore=shutil.ignore_patterns("dogs", "pack"))
    with_joints(tmp_path / "dogs")
    with pytest.raises(ValueError, match="has the joints of coco17, but dogs those of dog3: train on one set"):
        pack_folders([data_folder, tmp_path / "dogs"], tmp_path / "pack", PoseSpec(input_size=(64, 64)))


def test_a_network_is_trained_evaluated_exported_and_run_on_them(data_folder: Path, tmp_path: Path, capsys) -> None:
    data, run, bundle = str(with_joints(data_folder)), tmp_path / "run", tmp_path / "bundle"
    options = ["--recipe", "quick", "--network", "tiny", "--size", "64x64", "--epochs", "1", "--batch", "1"]
    assert main(["train", "--data", data, *options, "--out", str(run), "--no-fused-ops"]) == 0
    last = str(run / "last.safetensors")
    assert load_checkpoint(run / "last.safetensors").spec.skeleton == DOG
    assert main(["evaluate", last, "--data", data, "--flip", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out.splitlines()[-1])["joints"]) == list(DOG.joints)
    assert main(["export", last, "--out", str(bundle)]) == 0
    assert open_bundle(bundle).spec.skeleton == DOG
    assert main(["predict", str(bundle), f"{data}/images", "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    found = json.loads((tmp_path / "out" / "keypoints.json").read_text())
    assert [len(person["keypoints"]) for person in found] == [9, 9]
    assert main(["evaluate", str(bundle / "fp32.onnx"), "--data", data]) == 0  # whose joints nobody named


def test_a_start_of_other_joints_is_refused(data_folder: Path, tiny_checkpoint, tmp_path: Path, capsys) -> None:
    from lehrnet.model.checkpoint import save_checkpoint

    save_checkpoint(tmp_path / "start.safetensors", tiny_checkpoint)
    arguments = ["train", "--data", str(with_joints(data_folder)), "--start", str(tmp_path / "start.safetensors")]
    assert main([*arguments, "--size", "64x64", "--batch", "1", "--out", str(tmp_path / "run")]) == 2
    assert "has the 17 joints of coco17, but the data the 3 of dog3" in capsys.readouterr().err


def test_a_skeleton_file_names_the_joints_of_a_checkpoint_that_does_not(tmp_path: Path, tiny_checkpoint) -> None:
    import torch

    file = tmp_path / "own.json"
    own = {"name": "own17", "joints": [f"{name}_x" for name in COCO17.joints]}
    file.write_text(json.dumps(own))
    torch.save(tiny_checkpoint.network.state_dict(), tmp_path / "plain.pth")
    arguments = ["export", str(tmp_path / "plain.pth"), "--network", "tiny", "--size", "64x64"]
    assert main([*arguments, "--skeleton", str(file), "--out", str(tmp_path / "bundle")]) == 0
    assert open_bundle(tmp_path / "bundle").spec.skeleton.joints == tuple(own["joints"])


def test_another_skeleton_than_the_checkpoint_s_is_refused(tmp_path: Path, tiny_checkpoint) -> None:
    from lehrnet.model.checkpoint import save_checkpoint

    save_checkpoint(tmp_path / "ours.safetensors", tiny_checkpoint)
    with pytest.raises(ValueError, match="has its own skeleton coco17; leave --skeleton out"):
        load_checkpoint(tmp_path / "ours.safetensors", skeleton=replace(COCO17, name="mine"))
    with pytest.raises(ValueError, match="there are 0 joints"):
        replace(DOG, joints=(), sigmas=())

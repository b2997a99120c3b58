import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from lehrnet.pose.spec import PoseSpec
from lehrnet.serving.batch.archive import Archive, Part, list_archive


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    for name in ("b.jpg", "a.png", "deep/er/c.JPG", ".hidden/d.jpg", "notes.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / "x.jpg"), np.zeros((20, 30, 3), np.uint8))
        (root / "x.jpg").rename(root / name)
    return root


def names(archive) -> list[list[str]]:
    return [[picture.name for picture in part.pictures] for part in archive.parts]


def test_a_folder_s_pictures_are_cut_into_parts_in_order(folder: Path) -> None:
    archive = list_archive(str(folder), PoseSpec(), part_pictures=2)
    assert names(archive) == [["a.png", "b.jpg"], ["deep/er/c.JPG"]]
    assert [part.index for part in archive.parts] == [0, 1]
    assert archive.digest == list_archive(str(folder), PoseSpec(), part_pictures=2).digest
    assert archive.digest != list_archive(str(folder), PoseSpec(), part_pictures=3).digest


def test_an_address_is_listed_like_the_folder(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for path in folder.rglob("*"):
            if path.is_file():
                file.write(path, f"archive/{path.relative_to(folder)}")
    local = list_archive(str(folder), PoseSpec())
    for address in (f"file://{folder}", f"zip://archive::file://{tmp_path / 'a.zip'}"):
        found = list_archive(address, PoseSpec()).parts[0].pictures
        assert [(each.name, each.image_id) for each in found] == [
            (each.name, each.image_id) for each in local.parts[0].pictures
        ]


def test_one_file_is_an_archive_whatever_it_is_called(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    shutil.copy(folder / "b.jpg", tmp_path / "picture.tif")
    for address in (str(tmp_path / "picture.tif"), f"file://{tmp_path}/picture.tif"):
        assert names(list_archive(address, PoseSpec())) == [["picture.tif"]]


def test_boxes_go_to_pictures_of_an_address_by_name(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    boxes = tmp_path / "boxes.json"
    boxes.write_text('{"deep/er/c.JPG": [[1, 2, 9, 12]], "a.png": []}')
    for address in (str(folder), f"file://{folder}"):
        archive = list_archive(address, PoseSpec(), boxes)
        (part,) = archive.parts
        assert [each.name for each in part.pictures] == ["a.png", "deep/er/c.JPG"]
        people = part.pictures[1].people
        assert people is not None
        assert people.boxes.tolist() == [[1, 2, 9, 12]]
    assert list_archive(str(folder), PoseSpec(), boxes).left_out == 1


def test_a_video_is_cut_into_segments_that_share_a_pass(clip: Path) -> None:
    archive = list_archive(str(clip), PoseSpec(), segment_s=0.3)
    segments = [part.segment for part in archive.parts if part.segment is not None]
    assert [each.name for each in segments] == ["clip.avi"] * 4
    assert [each.start_s for each in segments] == pytest.approx([0, 0.3, 0.6, 0.9])
    assert [each.end_s for each in segments[:-1]] == pytest.approx([0.3, 0.6, 0.9])
    assert segments[-1].end_s is None
    assert [[part.index for part in chain] for chain in archive.chains(archive.parts, 2)] == [[0, 1], [2, 3]]
    assert [len(chain) for chain in archive.chains(archive.parts[1:], 1)] == [3]


def test_pictures_parts_stand_alone() -> None:
    parts = (Part(0), Part(1))
    archive = Archive("", parts)
    assert archive.chains(parts, 1) == [(parts[0],), (parts[1],)]


@pytest.mark.parametrize(
    ("made", "arguments", "words"),
    [
        ("empty", {}, "holds no pictures"),
        ("missing", {}, "no file or folder"),
        ("mixed", {"boxes": True}, "for pictures or for one video"),
        ("full", {"part_pictures": 0}, "expected more than 0"),
        ("full", {"segment_s": -1.0}, "expected more than 0"),
    ],
)
def test_what_cannot_be_listed_is_one_sentence(
    folder: Path, clip: Path, tmp_path: Path, made: str, arguments: dict, words: str
) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copytree(folder, tmp_path / "full")
    shutil.copytree(folder, tmp_path / "mixed")
    shutil.copy(clip, tmp_path / "mixed")
    if arguments.pop("boxes", False):
        arguments["boxes"] = tmp_path / "boxes.json"
        (tmp_path / "boxes.json").write_text("{}")
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        list_archive(str(tmp_path / made), PoseSpec(), **arguments)

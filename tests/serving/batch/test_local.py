"""`lehrnet batch` by the local pool: what it finds, what it survives, what it refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lehrnet.benchmarks.studies.archive import workers_of
from lehrnet.cli import main
from lehrnet.files import locked


@pytest.fixture
def folder(data_folder: Path, tmp_path: Path) -> Path:
    """Nine pictures in two folders."""
    root = tmp_path / "archive"
    (root / "deep").mkdir(parents=True)
    for number in range(9):
        source = data_folder / "images" / f"{number % 2 + 1:012d}.jpg"
        shutil.copy(source, root / ("deep" if number % 3 else ".") / f"{number + 100}.jpg")
    return root


def batch(source: object, bundle: Path, out: Path, *more: object) -> int:
    return main(["batch", str(source), "--bundle", str(bundle), "--out", str(out), "--device", "cpu", *map(str, more)])


def results(out: Path) -> list[dict[str, Any]]:
    return [each for path in sorted(out.glob("part-?????.json")) for each in json.loads(path.read_text())]


def rows(out: Path) -> list[dict[str, Any]]:
    return [each for path in sorted(out.glob("part-*.images.json")) for each in json.loads(path.read_text())["images"]]


def predicted(source: Path, bundle: Path, tmp_path: Path, *more: object) -> list[dict[str, Any]]:
    arguments = ("predict", bundle, source, "--device", "cpu", "--json", tmp_path / "predicted.json", *more)
    main([str(each) for each in arguments])
    return json.loads((tmp_path / "predicted.json").read_text())


def by_name(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted((each["file_name"], each["image_id"], each["keypoints"], each["bbox"]) for each in found)


def test_every_picture_has_the_keypoints_of_predict(folder: Path, tiny_bundle: Path, tmp_path: Path, capsys) -> None:
    assert batch(folder, tiny_bundle, tmp_path / "out", "--part", 4, "--workers", 2, "--log-json") == 0
    said = capsys.readouterr()
    assert "9 images, 9 people, 0 errors in 3 parts" in said.out
    assert sorted(json.loads(line)["part"] for line in said.err.splitlines()) == [0, 1, 2]
    for mine, theirs in zip(
        by_name(results(tmp_path / "out")), by_name(predicted(folder, tiny_bundle, tmp_path)), strict=True
    ):
        assert mine[:2] == theirs[:2]
        assert mine[2] == pytest.approx(theirs[2], abs=0.01)  # px: batches of other sizes round otherwise


def test_boxes_go_to_their_pictures(data_folder: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    labels = data_folder / "person_keypoints.json"
    assert batch(data_folder / "images", tiny_bundle, tmp_path / "out", "--boxes", labels) == 0
    wanted = predicted(data_folder / "images", tiny_bundle, tmp_path, "--boxes", labels)
    assert [each[:2] for each in by_name(results(tmp_path / "out"))] == [each[:2] for each in by_name(wanted)]
    assert len(wanted) == 3


def test_a_broken_picture_costs_its_own_row(folder: Path, tiny_bundle: Path, tmp_path: Path, capsys) -> None:
    (folder / "104.jpg").write_bytes((folder / "100.jpg").read_bytes()[:300])
    (folder / "105.png").write_text("words")
    assert batch(folder, tiny_bundle, tmp_path / "out", "--part", 4) == 1
    assert "11 images, 9 people, 2 errors" in capsys.readouterr().out
    errors = {each["file_name"]: each["error"] for each in rows(tmp_path / "out") if "error" in each}
    assert "is cut off" in errors["104.jpg"]
    assert "is not an image" in errors["105.png"]
    assert len(results(tmp_path / "out")) == 9


def test_a_second_run_keeps_what_is_whole_and_mends_what_is_not(
    folder: Path, tiny_bundle: Path, tmp_path: Path, capsys, caplog
) -> None:
    out = tmp_path / "out"
    assert batch(folder, tiny_bundle, out, "--part", 2) == 0
    before = results(out)
    kept = (out / "part-00000.json").stat().st_mtime_ns
    half = (out / "part-00001.json").read_bytes()
    (out / "part-00001.json").write_bytes(half[: len(half) // 2])
    (out / "part-00002.images.json").unlink()
    (out / "part-00003.images.json").write_text("{")
    capsys.readouterr()
    assert batch(folder, tiny_bundle, out, "--part", 2) == 0
    assert "in 5 parts, 2 of them kept from before" in capsys.readouterr().out
    assert "part-00001.json has SHA-256" in caplog.text
    assert results(out) == before
    assert (out / "part-00000.json").stat().st_mtime_ns == kept


def test_parquet_has_a_row_for_each_picture(folder: Path, tiny_bundle: Path, tmp_path: Path, capsys, caplog) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet takes pyarrow: pip install 'lehrnet[batch]'")
    (folder / "105.png").write_text("words")
    out = tmp_path / "out"
    assert batch(folder, tiny_bundle, out, "--part", 4, "--format", "parquet") == 1
    table = parquet.read_table(out).to_pylist()
    assert len({row["file_name"] for row in table}) == 10
    assert [row["file_name"] for row in table if row["error"]] == ["105.png"]
    assert {len(row["people"][0]["keypoints"]) for row in table if row["people"]} == {51}
    whole = (out / "part-00001.parquet").read_bytes()
    (out / "part-00001.parquet").write_bytes(whole[: len(whole) // 2])
    capsys.readouterr()
    assert batch(folder, tiny_bundle, out, "--part", 4, "--format", "parquet") == 1
    assert "part-00001.parquet is cut off or damaged" in caplog.text
    assert "10 images, 9 people, 1 errors in 3 parts, 2 of them kept" in capsys.readouterr().out
    assert parquet.read_table(out).num_rows == 10


def test_a_video_s_frames_are_there_once(clip: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps([[[0, 0, 60, 100]]] * 30))
    out = tmp_path / "out"
    assert batch(clip, tiny_bundle, out, "--segment", 0.3, "--workers", 2, "--boxes", boxes) == 0
    found = rows(out)
    assert [row["frame"] for row in found] == [*range(30)]
    assert found[3]["time_s"] == pytest.approx(0.1)
    assert {row["people"] for row in found} == {1}
    assert found[0]["image_id"] == "clip.avi#0"


def test_a_video_that_is_cut_off_costs_a_row_and_keeps_its_frames(
    clip: Path, folder: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    (folder / "cut.avi").write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    (folder / "none.mp4").write_text("words")
    assert batch(folder, tiny_bundle, tmp_path / "out") == 1
    found = rows(tmp_path / "out")
    errors = {row["file_name"]: row["error"] for row in found if "error" in row}
    assert {*errors} == {"cut.avi", "none.mp4"}
    assert "is not a video" in errors["none.mp4"]
    assert len([row for row in found if row["file_name"] == "cut.avi"]) > 5


def contents(out: Path) -> dict[str, bytes]:
    """The files of a folder; its lock says when it was taken."""
    return {path.name: path.read_bytes() for path in out.iterdir() if not path.name.startswith(".")}


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda out: (out / "_job.json").unlink(), "no run began it"),
        (lambda out: (out / "_job.json").write_text("[]"), "does not say what began"),
        (lambda out: (out / "_job.json").write_text("{}"), "was begun with another format"),
    ],
)
def test_a_folder_of_something_else_is_left_alone(
    harm, words: str, folder: Path, tiny_bundle: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "out"
    assert batch(folder, tiny_bundle, out) == 0
    harm(out)
    before = contents(out)
    assert batch(folder, tiny_bundle, out) == 2
    assert words in capsys.readouterr().err
    assert contents(out) == before


def test_a_run_goes_on_only_as_it_began(folder: Path, tiny_bundle: Path, tmp_path: Path, capsys) -> None:
    assert batch(folder, tiny_bundle, tmp_path / "out") == 0
    (folder / "999.jpg").write_bytes((folder / "100.jpg").read_bytes())
    assert batch(folder, tiny_bundle, tmp_path / "out") == 2
    assert "was begun with another archive" in capsys.readouterr().err


def test_two_runs_into_one_folder_are_one_too_many(folder: Path, tiny_bundle: Path, tmp_path: Path, capsys) -> None:
    with locked(tmp_path / "out"):
        assert batch(folder, tiny_bundle, tmp_path / "out") == 2
    assert f"is in use by process {os.getpid()}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--artefact", "int3"), "has no 'int3'"),
        (("--workers", "0"), "workers is 0"),
        (("--boxes", "b.json", "--detector", "d.onnx"), "expected at most one"),
        (("--detector", "nowhere.onnx"), "nowhere.onnx"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    folder: Path, tiny_bundle: Path, tmp_path: Path, capsys, arguments, words
) -> None:
    assert batch(folder, tiny_bundle, tmp_path / "out", *arguments) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def started(folder: Path, bundle: Path, out: Path, *more: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "lehrnet", "batch", folder, "--bundle", bundle, "--out", out, "--device", "cpu"]
    return subprocess.Popen([str(each) for each in (*command, *more)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture
def many(folder: Path) -> Path:
    for number in range(400):
        os.link(folder / "100.jpg", folder / f"{number + 1000}.jpg")
    return folder


def until(true, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_a_worker_and_then_the_driver_are_killed_and_every_picture_is_there_once(
    many: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    driver = started(many, tiny_bundle, out, "--workers", 2, "--part", 8)
    until(lambda: len(list(out.glob("*.images.json"))) >= 3)
    os.kill(workers_of(driver.pid)[0], signal.SIGKILL)
    before = len(list(out.glob("*.images.json")))
    until(lambda: len(list(out.glob("*.images.json"))) >= before + 6)
    workers = workers_of(driver.pid)
    driver.kill()
    _, said = driver.communicate(timeout=60)
    assert b"was ended by SIGKILL" in said
    until(lambda: not any(Path(f"/proc/{each}").exists() for each in workers), 20)
    assert 3 < len(list(out.glob("*.images.json"))) < 52
    again = started(many, tiny_bundle, out, "--workers", 2, "--part", 8)
    told, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert b"409 images, 409 people, 0 errors in 52 parts, " in told
    names = [row["file_name"] for row in rows(out)]
    assert len(names) == len({*names}) == 409
    assert not [path for path in out.iterdir() if path.name.endswith(".unfinished")]


def test_a_detector_finds_the_people_and_the_run_goes_on_with_it_alone(
    tiny_bundle: Path, tmp_path: Path, capsys
) -> None:
    pytest.importorskip("onnx")
    from lehrnet.tests.runtime.detect import test_detectors

    detector = test_detectors.build("1 YOLOX raw", tmp_path)
    picture = np.full((200, 320, 3), (60, 90, 50), np.uint8)
    (tmp_path / "archive").mkdir()
    cv2.imwrite(str(tmp_path / "archive" / "nobody.png"), picture)
    x1, y1, x2, y2 = test_detectors.PLACE.astype(int)
    picture[y1:y2, x1:x2] = test_detectors.graphs.PERSON_BGR
    cv2.imwrite(str(tmp_path / "archive" / "somebody.png"), picture)
    arguments = ("--detector", detector, "--detector-kind", "yolox")
    assert batch(tmp_path / "archive", tiny_bundle, tmp_path / "out", *arguments) == 0
    assert "2 images, 1 people, 0 errors" in capsys.readouterr().out
    assert batch(tmp_path / "archive", tiny_bundle, tmp_path / "out", *arguments) == 0
    assert batch(tmp_path / "archive", tiny_bundle, tmp_path / "out", *arguments, "--detector-score", 0.9) == 2
    assert "begun with another detector_settings" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["zip://::file://{}/a.zip", "zip://inner::file://{}/a.zip", "file://{}/clip.avi"])
def test_an_address_gives_what_the_folder_gives(
    address: str, folder: Path, clip: Path, tiny_bundle: Path, tmp_path: Path, capsys
) -> None:
    pytest.importorskip("fsspec")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for path in [clip, *folder.rglob("*.jpg")]:
            file.write(path, f"inner/{path.relative_to(folder) if path != clip else path.name}")
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps([[]] * 30))
    only_video = ("--boxes", boxes) if address.endswith("avi") else ()
    assert batch(address.format(tmp_path), tiny_bundle, tmp_path / "out", *only_video) == 0
    found = rows(tmp_path / "out")
    assert len([row for row in found if "frame" in row]) == 30
    assert len([row for row in found if "frame" not in row]) == (0 if only_video else 9)

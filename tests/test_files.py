"""Whole or not at all: against errors, kills, second writers, links, mount points, full disks and masks."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lehrnet.files import (
    UNFINISHED,
    NoRoomError,
    atomic_file,
    atomic_folder,
    locked,
    refuse_inputs,
    remove_unfinished,
    write_text,
)

MARK = "mark"


def marked(folder: Path) -> bool:
    return (folder / MARK).is_file()


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(folder: Path, text: str) -> None:
    with atomic_folder(folder, marked) as unfinished:
        (unfinished / MARK).write_text(text)


class TestAtomicFile:
    def test_it_takes_its_name_whole(self, tmp_path: Path) -> None:
        write_text(tmp_path / "a" / "b.json", "whole")
        assert (tmp_path / "a" / "b.json").read_text() == "whole"
        assert left_in(tmp_path / "a") == ["b.json"]

    def test_an_error_leaves_the_old_one(self, tmp_path: Path) -> None:
        write_text(tmp_path / "a", "old")
        with pytest.raises(KeyError), atomic_file(tmp_path / "a") as unfinished:
            unfinished.write_text("half")
            raise KeyError
        assert (tmp_path / "a").read_text() == "old"
        assert left_in(tmp_path) == ["a"]

    @pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
    def test_permissions_follow_the_umask(self, tmp_path: Path, mask: int, mode: int) -> None:
        old = os.umask(mask)
        try:
            with atomic_file(tmp_path / "a") as unfinished:
                os.close(os.open(unfinished, os.O_CREAT | os.O_WRONLY, 0o600))  # as some libraries do
            fill(tmp_path / "folder", "x")
        finally:
            os.umask(old)
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode
        assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~mask

    def test_a_link_under_the_name_is_replaced_and_its_target_kept(self, tmp_path: Path) -> None:
        (tmp_path / "victim").write_text("kept")
        (tmp_path / "link").symlink_to("victim")
        write_text(tmp_path / "link", "new")
        assert (tmp_path / "victim").read_text() == "kept"
        assert (tmp_path / "link").read_text() == "new"

    def test_a_pipe_is_written_to_and_stays(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        reader = subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=subprocess.PIPE, text=True)
        write_text(tmp_path / "pipe", "through")
        assert reader.communicate(timeout=10)[0] == "through"
        assert (tmp_path / "pipe").is_fifo()

    def test_a_folder_of_that_name_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(IsADirectoryError, match="is a folder"):
            write_text(tmp_path, "x")

    def test_the_scratch_name_cannot_be_guessed_or_read(self, tmp_path: Path) -> None:
        names = set()
        for _ in range(2):
            with atomic_file(tmp_path / "a") as unfinished:
                unfinished.write_text("x")
                names.add(unfinished.parent.name)
                assert stat.S_IMODE(unfinished.parent.stat().st_mode) == 0o700
        assert len(names) == 2

    def test_what_is_there_is_not_listed_for_each_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        looked = []
        plain = Path.glob
        monkeypatch.setattr(Path, "glob", lambda self, pattern: (looked.append(self), plain(self, pattern))[1])
        for number in range(5):
            write_text(tmp_path / f"{number}.json", "x")
        assert looked == [tmp_path]

    def test_without_locks_nothing_is_taken_for_abandoned(self, tmp_path: Path, monkeypatch) -> None:
        """A file system that knows no locks cannot say who is alive."""
        (tmp_path / f".a.x{UNFINISHED}").mkdir()
        monkeypatch.setattr("lehrnet.files.fcntl.flock", failing(errno.ENOLCK))
        write_text(tmp_path / "a", "x")
        assert (tmp_path / f".a.x{UNFINISHED}").exists()

    def test_a_full_disk_says_how_much_there_was(self, tmp_path: Path) -> None:
        refused = pytest.raises(OSError, match=r"no room for .*a: it takes at least 2\.0 MB")
        with refused, atomic_file(tmp_path / "a") as half:
            half.write_bytes(bytes(2_000_000))
            raise OSError(errno.ENOSPC, "No space left on device")
        assert not left_in(tmp_path)

    def test_a_folder_on_a_full_disk_is_named_with_what_was_known(self, tmp_path: Path) -> None:
        refused = pytest.raises(NoRoomError, match=r"no room for .*folder: it takes at least 5\.0 MB")
        with refused, atomic_folder(tmp_path / "folder") as folder, atomic_file(folder / "large", 5_000_000) as file:
            file.write_bytes(b"begun")
            raise OSError(errno.ENOSPC, "No space left on device")
        assert not left_in(tmp_path)


class TestAtomicFolder:
    def test_a_folder_that_stands_is_refused_or_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "users").mkdir()
        with pytest.raises(FileExistsError, match="exists already"):
            fill(tmp_path / "users", "new")
        fill(tmp_path / "ours", "old")
        fill(tmp_path / "ours", "new")
        assert (tmp_path / "ours" / MARK).read_text() == "new"
        assert left_in(tmp_path) == ["ours", "users"]

    def test_a_folder_that_appears_meanwhile_is_kept(self, tmp_path: Path) -> None:
        with pytest.raises(FileExistsError, match="appeared"), atomic_folder(tmp_path / "a", marked) as unfinished:
            (unfinished / MARK).write_text("ours")
            (tmp_path / "a").mkdir()
            (tmp_path / "a" / "users").write_text("kept")
        assert (tmp_path / "a" / "users").read_text() == "kept"
        assert left_in(tmp_path) == ["a"]

    def test_an_empty_folder_that_appears_meanwhile_is_kept(self, tmp_path: Path) -> None:
        with pytest.raises(FileExistsError, match="appeared"), atomic_folder(tmp_path / "a") as unfinished:
            (unfinished / MARK).write_text("ours")
            (tmp_path / "a").mkdir()
        assert not left_in(tmp_path / "a")

    def test_a_bundle_that_became_something_else_meanwhile_is_kept(self, tmp_path: Path) -> None:
        fill(tmp_path / "a", "old")
        with pytest.raises(FileExistsError), atomic_folder(tmp_path / "a", marked) as unfinished:
            (unfinished / MARK).write_text("new")
            (tmp_path / "a" / MARK).rename(tmp_path / "a" / "users")
        assert (tmp_path / "a" / "users").read_text() == "old"

    def test_a_link_to_a_folder_stays_a_link(self, tmp_path: Path) -> None:
        fill(tmp_path / "release-1", "old")
        (tmp_path / "current").symlink_to("release-1")
        fill(tmp_path / "current", "new")
        assert (tmp_path / "current").is_symlink()
        assert (tmp_path / "release-1" / MARK).read_text() == "new"

    def test_a_rename_that_fails_leaves_the_old_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fill(tmp_path / "a", "old")
        monkeypatch.setattr("lehrnet.files._rename", failing(errno.EIO))
        with pytest.raises(OSError, match="stays as it was"):
            fill(tmp_path / "a", "new")
        assert (tmp_path / "a" / MARK).read_text() == "old"
        assert left_in(tmp_path) == ["a"]

    def test_a_file_system_without_exchange_puts_the_old_one_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(tmp_path / "a", "old")
        monkeypatch.setattr("lehrnet.files.platform.system", lambda: "Elsewhere")
        fill(tmp_path / "a", "new")
        assert (tmp_path / "a" / MARK).read_text() == "new"
        rename = Path.rename
        monkeypatch.setattr(
            Path,
            "rename",
            lambda self, to: (
                failing(5)() if UNFINISHED in str(self) and not str(self).endswith(".old") else rename(self, to)
            ),
        )
        with pytest.raises(OSError, match="stays as it was"):
            fill(tmp_path / "a", "newest")
        assert (tmp_path / "a" / MARK).read_text() == "new"

    def test_the_second_of_two_writers_is_refused(self, tmp_path: Path) -> None:
        with atomic_folder(tmp_path / "a") as unfinished:
            (unfinished / MARK).write_text("first")
            with pytest.raises(FileExistsError, match=f"being written by process {os.getpid()} on"):
                fill(tmp_path / "a", "second")
        assert (tmp_path / "a" / MARK).read_text() == "first"

    def test_a_killed_writer_leaves_the_old_one_and_the_next_run_clears_up(self, tmp_path: Path) -> None:
        fill(tmp_path / "a", "old")
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "a")], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.kill()
        writer.wait()
        assert len(left_in(tmp_path)) == 2
        assert (tmp_path / "a" / MARK).read_text() == "old"
        fill(tmp_path / "a", "new")
        assert left_in(tmp_path) == ["a"]

    def test_a_link_that_looks_like_a_leftover_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "victim").mkdir()
        (tmp_path / "victim" / "kept").touch()
        (tmp_path / f".a.x{UNFINISHED}").symlink_to("victim")
        fill(tmp_path / "a", "new")
        assert (tmp_path / "victim" / "kept").exists()

    def test_kills_at_random_moments_leave_the_old_or_the_new(self, tmp_path: Path) -> None:
        fill(tmp_path / "a", "0")
        for round_ in range(12):
            writer = subprocess.Popen([sys.executable, "-c", LOOP, str(tmp_path / "a")], stdout=subprocess.PIPE)
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(0.0037 * round_)
            writer.kill()
            writer.wait()
            texts = {name: (tmp_path / "a" / name).read_text() for name in (MARK, "second")}
            assert texts[MARK] == texts["second"]
        fill(tmp_path / "a", "last")
        assert left_in(tmp_path) == ["a"]


WRITER = f"""
import sys, time
from pathlib import Path
from lehrnet.files import atomic_folder
with atomic_folder(Path(sys.argv[1]), lambda folder: True) as unfinished:
    (unfinished / "{MARK}").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""
LOOP = f"""
import sys
from pathlib import Path
from lehrnet.files import atomic_folder
for number in range(10**6):
    with atomic_folder(Path(sys.argv[1]), lambda folder: True) as unfinished:
        (unfinished / "{MARK}").write_text(str(number))
        (unfinished / "second").write_text(str(number))
    print("ready", flush=True) if number == 0 else None
"""


def failing(code: int):
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


class TestLocked:
    def test_the_second_is_refused_with_the_owner(self, tmp_path: Path) -> None:
        refused = pytest.raises(FileExistsError, match=f"in use by process {os.getpid()} on")
        with locked(tmp_path / "run"), refused, locked(tmp_path / "run"):
            pass

    def test_a_kill_frees_it(self, tmp_path: Path) -> None:
        code = "import sys, time; from pathlib import Path; from lehrnet.files import locked\n"
        code += "with locked(Path(sys.argv[1])):\n    print('ready', flush=True); time.sleep(60)"
        holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(FileExistsError, match=f"process {holder.pid}"), locked(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with locked(tmp_path):
            assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()


class TestRefuseInputs:
    @pytest.mark.parametrize("spelling", ["photo.png", "./photo.png", "link.png", "hard.png"])
    def test_an_input_is_refused_by_whatever_path(self, tmp_path: Path, spelling: str) -> None:
        (tmp_path / "photo.png").touch()
        (tmp_path / "link.png").symlink_to("photo.png")
        (tmp_path / "hard.png").hardlink_to(tmp_path / "photo.png")
        with pytest.raises(ValueError, match="--result .* would overwrite one of the inputs"):
            refuse_inputs({"--result": tmp_path / spelling}, [tmp_path / "photo.png"])

    def test_a_file_in_an_input_folder_is_refused_and_a_new_one_is_not(self, tmp_path: Path) -> None:
        (tmp_path / "labels.json").touch()
        with pytest.raises(ValueError, match="would overwrite"):
            refuse_inputs({"--keypoints": tmp_path / "labels.json"}, [None, tmp_path])
        refuse_inputs({"--keypoints": tmp_path / "new.json", "--result": None}, [tmp_path])


def test_what_killed_writers_left_is_removed_and_living_ones_stay(tmp_path: Path) -> None:
    (tmp_path / ".a.dead.unfinished").mkdir()
    (tmp_path / ".b.dead.unfinished").mkdir()
    with atomic_file(tmp_path / "a") as unfinished:
        unfinished.write_text("whole")
        (tmp_path / ".a.later.unfinished").mkdir()
        remove_unfinished([tmp_path / "a", tmp_path / "none" / "c"])
        left = {path.name for path in tmp_path.iterdir()}
    assert left == {unfinished.parent.name, ".b.dead.unfinished"}
    assert (tmp_path / "a").read_text() == "whole"

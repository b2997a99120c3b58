"""What travels to a borrowed GPU: the checkout, wheels, a pack to train on, and what an earlier call brought back.

python -m lehrnet.benchmarks.gpu_day.carry --out .gpu_day --pack PACK [--earlier FOLDER] [--wheels onnxsim==0.8.1]
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ...files import atomic_folder, write_text
from .pack_results import MIB, folder_size
from .runner import EARLIER, WHEELS
from .states import COMMIT, RESULTS
from .steps import ROOT

LARGEST = 64 * MIB
"""The checkout and all that is carried."""
SLACK = MIB // 2
"""Kept free for what a transfer adds to each file."""
PACK, NOTE = "pack", "made_by.txt"
PYTHON = "3.12"
PLATFORMS = tuple(f"manylinux{kind}_x86_64" for kind in ("_2_28", "_2_27", "_2_24", "_2_17", "2014"))
NEEDED = ("pycocotools==2.0.11",)
"""Held-out AP takes it; the rest of what steps need is on the machine with PyTorch: NumPy, OpenCV, safetensors, tqdm,
pytest, cuda-python. What is missing there goes into --wheels, with a version."""
QUALITY = 80
"""Of the carried JPEGs: half of the bytes of a pack's own, so twice as many people."""


def carry(out: Path, *, wheels: Sequence[str], pack: Path | None, earlier: Path | None) -> dict[str, int]:
    """Make the folder anew; returns bytes by part. ValueError if it is too large, with what to leave out."""
    with atomic_folder(out, replaceable=_is_ours) as folder:
        write_text(folder / NOTE, "by lehrnet.benchmarks.gpu_day.carry\n")
        write_text(folder / COMMIT, _commit())
        _download(wheels, folder / WHEELS)
        if earlier is not None:
            _take_earlier(earlier, folder / EARLIER)
        parts = {"checkout": checkout_size(), WHEELS: folder_size(folder / WHEELS)}
        parts |= {EARLIER: folder_size(folder / EARLIER)}
        room = LARGEST - SLACK - sum(parts.values())
        if room < 0:
            raise ValueError(f"{table(parts)}\nover {LARGEST // MIB} MiB without a pack: leave out {_largest(parts)}")
        if pack is not None:
            from ...training.thin import thin_pack  # noqa: PLC0415 - loads OpenCV

            people = thin_pack(pack, folder / PACK, room, QUALITY)
            parts[f"{PACK}, {people} people"] = folder_size(folder / PACK)
    return parts


def table(parts: dict[str, int]) -> str:
    """Sizes by part and in all, in MiB."""
    rows = {**parts, "in all": sum(parts.values()), "at most": LARGEST}
    return "\n".join(f"{name:24} {size / MIB:6.1f} MiB" for name, size in rows.items())


def checkout_size() -> int:
    """Bytes of the checkout's files that travel: tracked ones, and others that git does not ignore."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, check=True)  # noqa: S603
    paths = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    return sum(path.lstat().st_size for path in paths if path.is_symlink() or path.is_file())


def _download(wheels: Sequence[str], folder: Path) -> None:
    """Wheels for Python 3.12 on Linux, without what they need; RuntimeError with pip's words."""
    folder.mkdir()
    if not wheels:
        return
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", PYTHON, "--implementation", "cp", "--dest", str(folder)]
    for platform in PLATFORMS:
        command += ["--platform", platform]
    done = subprocess.run([*command, *wheels], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise RuntimeError(f"pip could not download {', '.join(wheels)}: {done.stderr.strip()[-500:]}")


def _take_earlier(earlier: Path, folder: Path) -> None:
    """What a later call goes on from: the results, and the last weights of the training."""
    if not (earlier / RESULTS).is_file():
        raise FileNotFoundError(f"{earlier} has no {RESULTS}: give the folder that an earlier call brought back")
    folder.mkdir()
    for path in [earlier / RESULTS, *earlier.glob("last.safetensors*")]:
        shutil.copy2(path, folder / path.name)


def _commit() -> str:
    """The checkout's commit; empty where git does not know it."""
    done = subprocess.run(  # noqa: S603
        ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def _is_ours(folder: Path) -> bool:
    return (folder / NOTE).is_file()


def _largest(parts: dict[str, int]) -> str:
    """What to leave out: the largest of what was asked for."""
    name = max((name for name in parts if name != "checkout"), key=lambda name: parts[name])
    told = {WHEELS: "--wheels", EARLIER: "--earlier"}
    return f"{told.get(name, name)} ({parts[name] / MIB:.1f} MiB)"


def main(arguments: list[str] | None = None) -> int:
    """Make the folder and print the sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / ".gpu_day", metavar="FOLDER")
    parser.add_argument("--pack", type=Path, help="pack of `lehrnet pack`: people of it, by chance, as many as fit")
    parser.add_argument("--earlier", type=Path, metavar="FOLDER", help="what an earlier call brought back")
    parser.add_argument("--wheels", nargs="*", default=[], metavar="NAME==VERSION", help=f"beside {', '.join(NEEDED)}")
    options = parser.parse_args(arguments)
    try:
        parts = carry(options.out, wheels=(*NEEDED, *options.wheels), pack=options.pack, earlier=options.earlier)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"gpu_day.carry: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}\n{table(parts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

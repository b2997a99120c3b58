"""What a sub-command is, and how its arguments are read."""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..parsing import printable

if TYPE_CHECKING:
    from ..pose.batches import BadPicture

CHECK_FAILED, BAD_INPUT, OUR_FAULT, INTERRUPTED, TERMINATED = 1, 2, 3, 130, 143
"""Exit codes: a check or some items failed, the caller's mistake, ours, SIGINT, SIGTERM."""
SHOWN = 10
"""Bad items that are listed; all of them stand in the result."""


@dataclass(frozen=True)
class Command:
    """A sub-command."""

    name: str
    text: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def folders(text: str) -> list[Path]:
    """Comma-separated paths."""
    return [Path(name) for name in text.split(",")]


def size(text: str) -> tuple[int, int]:
    """Height and width of "256x192"."""
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, such as 256x192")
    return int(height), int(width)


def number(text: str) -> float:
    """A finite number."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a finite number")
    return found


def shares(text: str) -> dict[str, float]:
    """The numbers of "coco=2,lspe=0.5"."""
    pairs = [pair.partition("=") for pair in text.split(",")]
    try:
        return {name: float(number) for name, _, number in pairs}
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER,NAME=NUMBER") from error


def bundle_or_default(path: Path | None) -> Path:
    """The bundle named, or the shipped default's."""
    if path is not None:
        return path
    try:
        from ..export.default import default_bundle
    except ImportError as error:
        raise ImportError(
            f"no bundle was named, and the shipped weights become one only with the export tools ({error}); "
            "pip install 'lehrnet[export]', or name a bundle"
        ) from error
    return default_bundle()


def renamed(parser: "argparse._ActionsContainer", old: str, new: str, **options: Any) -> None:
    """Let an option's old name work for one release, with a note."""

    class Renamed(argparse.Action):
        def __call__(self, _: object, namespace: argparse.Namespace, values: object, __: object = None) -> None:
            print(f"lehrnet: {old} is called {new} now; the old name goes with the next release", file=sys.stderr)
            setattr(namespace, self.dest, values)

    dest = new.removeprefix("--").replace("-", "_")
    parser.add_argument(old, action=Renamed, dest=dest, help=argparse.SUPPRESS, default=argparse.SUPPRESS, **options)


def add_running(parser: argparse.ArgumentParser) -> None:
    """What is run, and on what."""
    parser.add_argument(
        "--artefact",
        default="fp32",
        metavar="NAME",
        help="of the bundle: fp32, int8, an engine, ...; or fastest, or torch_fp16 (%(default)s)",
    )
    renamed(parser, "--precision", "--artefact")
    add_device(parser)
    parser.add_argument("--threads", type=int, help="CPU threads")
    add_trust(parser)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Where networks run."""
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 or auto (%(default)s)")


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Whether engines may run."""
    parser.add_argument(
        "--trust-engine",
        nargs="?",
        const=True,
        default=False,
        metavar="SHA256",
        help="let an engine run, which is code: any, or the one of this hash",
    )


def report_bad(bad: "Sequence[BadPicture]") -> int:
    """List what could not be used on standard error; the exit code."""
    for each in bad[:SHOWN]:
        print(printable(f"lehrnet: {each.reason}"), file=sys.stderr)
    if bad:
        print(f"lehrnet: {len(bad)} images could not be used; the others' results are whole", file=sys.stderr)
    return CHECK_FAILED if bad else 0

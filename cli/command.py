"""Subcommands: their definition, shared arguments and argument types."""

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
    from ..pose.skeleton import Skeleton

CHECK_FAILED, BAD_INPUT, OUR_FAULT, INTERRUPTED, TERMINATED = 1, 2, 3, 130, 143
"""Exit codes: a check or some items failed, invalid input, a bug in lehrnet, SIGINT, SIGTERM."""
SHOWN = 10
"""Number of bad items that are printed; the result has all of them."""


@dataclass(frozen=True)
class Command:
    """A subcommand."""

    name: str
    text: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def folders(text: str) -> list[Path]:
    """Parse comma-separated paths."""
    return [Path(name) for name in text.split(",")]


def size(text: str) -> tuple[int, int]:
    """Parse "256x192" to (height, width)."""
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, such as 256x192")
    return int(height), int(width)


def number(text: str) -> float:
    """Parse a finite number."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a finite number")
    return found


def shares(text: str) -> dict[str, float]:
    """Parse "coco=2,lspe=0.5" to a mapping."""
    pairs = [pair.partition("=") for pair in text.split(",")]
    try:
        return {name: float(number) for name, _, number in pairs}
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER,NAME=NUMBER") from error


def bundle_or_default(path: Path | None, artefact: str | None = None) -> Path:
    """The given bundle, or that of the shipped weights: the package's own if it has the artefact, else exported once.

    A wheel may hold a bundle of the shipped weights for our CPU engine alone; "auto" runs it, None wants all artefacts.
    """
    if path is not None:
        return path
    from ..runtime.bundle import packaged_bundle

    packaged = packaged_bundle()
    if packaged is not None and (artefact == "auto" or artefact in packaged.artefacts):
        return packaged.root
    try:
        from ..export.default import default_bundle
    except ImportError as error:
        raise ImportError(
            f"no bundle was given, and exporting the shipped weights needs the export tools ({error}): "
            "pip install 'lehrnet[export]', or give a bundle"
        ) from error
    return default_bundle()


def renamed(parser: "argparse._ActionsContainer", old: str, new: str, **options: Any) -> None:
    """Keep an option's old name for one release, with a deprecation note."""

    class Renamed(argparse.Action):
        def __call__(self, _: object, namespace: argparse.Namespace, values: object, __: object = None) -> None:
            print(f"lehrnet: {old} is deprecated: use {new}; the next release removes the old name", file=sys.stderr)
            setattr(namespace, self.dest, values)

    dest = new.removeprefix("--").replace("-", "_")
    parser.add_argument(old, action=Renamed, dest=dest, help=argparse.SUPPRESS, default=argparse.SUPPRESS, **options)


def add_running(parser: argparse.ArgumentParser) -> None:
    """Add the artefact to run, the device and its settings."""
    parser.add_argument(
        "--artefact",
        default="auto",
        metavar="NAME",
        help="artefact of the bundle to run: fp32, native_fp32, int8, an engine, fastest, torch_fp16, ...; auto: "
        "native_fp32 on a CPU where bundle and machine have it, else fp32 (%(default)s)",
    )
    renamed(parser, "--precision", "--artefact")
    add_device(parser)
    parser.add_argument("--threads", type=int, help="number of CPU threads")
    add_trust(parser)


def add_skeleton(parser: "argparse._ActionsContainer", default: str) -> None:
    """Add the file that names the joints."""
    parser.add_argument(
        "--skeleton",
        type=Path,
        metavar="FILE",
        help=f"joints, limbs and mirror pairs: JSON, TOML or a COCO label file; default: {default}",
    )


def skeleton_of(options: argparse.Namespace) -> "Skeleton | None":
    """The skeleton of --skeleton; None without it."""
    from ..pose.skeleton_files import read_skeleton

    return None if options.skeleton is None else read_skeleton(options.skeleton)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the device."""
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 or auto (%(default)s)")


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add the permission to run engines."""
    parser.add_argument(
        "--trust-engine",
        nargs="?",
        const=True,
        default=False,
        metavar="SHA256",
        help="allow running an engine, which is executable code: any, or only the one with this hash",
    )


def report_bad(bad: "Sequence[BadPicture]") -> int:
    """List unusable images on standard error and return the exit code."""
    for each in bad[:SHOWN]:
        print(printable(f"lehrnet: {each.reason}"), file=sys.stderr)
    if bad:
        print(f"lehrnet: {len(bad)} images could not be used; the results of the others are complete", file=sys.stderr)
    return CHECK_FAILED if bad else 0

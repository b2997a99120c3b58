"""The command line: each command parses, calls one library function and prints."""

import argparse
import logging
import os
import sys

from .. import __version__
from . import engines, measuring, networks, running, training
from .command import BAD_INPUT, INTERRUPTED

COMMANDS = (*networks.COMMANDS, *training.COMMANDS, *running.COMMANDS, *engines.COMMANDS, *measuring.COMMANDS)
EPILOG = """\
examples:
  lehrnet info                                    what the default network costs, beside the paper
  lehrnet export weights.safetensors --out bundle
  lehrnet verify bundle --data coco/              ONNX against PyTorch, on photographs
  lehrnet predict bundle photo.jpg --out out/     keypoints.json and a picture
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit code is 0, 1 when a check failed, or 2 for bad input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    chosen = next((argument for argument in arguments if not argument.startswith("-")), "")
    try:
        options = _parser(chosen).parse_args(arguments)
        logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s")
        return options.run(options)
    except BrokenPipeError:  # `lehrnet ... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BAD_INPUT
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        print(f"lehrnet: error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("lehrnet: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser(chosen: str) -> argparse.ArgumentParser:
    """The parser; only the chosen command gets its arguments, so that `predict` never imports what `info` needs."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "lehrnet", description="Deploy LE-HRNet, a light pose network.", epilog=EPILOG, formatter_class=form
    )
    parser.add_argument("--version", action="version", version=f"lehrnet {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        epilog = f"example:\n  {command.example}"
        added = commands.add_parser(
            command.name, help=command.text, description=command.text, epilog=epilog, formatter_class=form
        )
        added.add_argument("-v", "--verbose", action="store_true", help="say what happens")
        if command.name == chosen:
            command.add_arguments(added)
            added.set_defaults(run=command.run)
    return parser

"""The command line: each command parses, calls one library function and prints."""

import argparse
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from .. import __version__
from ..parsing import printable
from . import engines, measuring, networks, running, training
from .command import BAD_INPUT, INTERRUPTED, OUR_FAULT, TERMINATED

COMMANDS = (*networks.COMMANDS, *training.COMMANDS, *running.COMMANDS, *engines.COMMANDS, *measuring.COMMANDS)
JOBS = {
    "make a network and its bundle": ("data", "pack", "train", "finetune", "export", "build-engine"),
    "check it": ("verify", "evaluate", "doctor"),
    "run it": ("predict", "demo"),
    "measure it": ("info", "bench", "tune"),
}
EPILOG = """\
examples:
  lehrnet info                                    what the default network costs, beside the paper
  lehrnet export weights.safetensors --out bundle
  lehrnet verify bundle --data coco/              ONNX against PyTorch, on photographs
  lehrnet predict bundle photo.jpg --out out/     keypoints.json and a picture
"""


class Terminated(BaseException):
    """SIGTERM, as an exception: what is half done is taken away on its way up."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    The exit code is 0; 1 when a check or some of many items failed; 2 for a caller's mistake or what the machine
    lacks; 3 for a fault of lehrnet's own; 130 and 143 when a signal ended it.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    chosen = next((argument for argument in arguments if not argument.startswith("-")), "")
    verbose = False
    try:
        with _terminable():
            options = _parser(chosen).parse_args(arguments)
            verbose = options.verbose
            _log_printable(logging.INFO if verbose else logging.WARNING)
            return options.run(options)
    except BrokenPipeError:  # `lehrnet ... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BAD_INPUT
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        return _failed(str(error), BAD_INPUT, verbose)
    except MemoryError as error:
        return _failed(f"not enough memory ({error}); smaller batches, images or sizes take less", BAD_INPUT)
    except (KeyboardInterrupt, Terminated) as error:
        print("lehrnet: interrupted", file=sys.stderr)
        return INTERRUPTED if isinstance(error, KeyboardInterrupt) else TERMINATED
    except Exception as error:
        said = f"{type(error).__name__}: {error}; this is a fault of lehrnet {__version__}: please report it"
        return _failed(said if verbose else f"{said}, with what -v shows", OUR_FAULT, verbose)


def _failed(text: str, code: int, verbose: bool = False) -> int:
    """Say on one line what went wrong, with the traceback before it where it was asked for."""
    if verbose:
        traceback.print_exc()
    print(f"lehrnet: error: {printable(text)}", file=sys.stderr)
    return code


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the command as an exception does, so that scratch files are removed."""

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _log_printable(level: int) -> None:
    """Log to standard error, where no name in a file can steer the terminal."""

    class Printable(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return printable(super().format(record))

    logging.basicConfig(level=level)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(Printable("%(message)s"))


def _parser(chosen: str) -> argparse.ArgumentParser:
    """The parser; only the chosen command gets its arguments, so that `predict` never imports what `info` needs."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "lehrnet",
        usage="lehrnet [-h] [--version] COMMAND ...",
        description=_overview(),
        epilog=EPILOG,
        formatter_class=form,
    )
    parser.add_argument("--version", action="version", version=f"lehrnet {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", help=argparse.SUPPRESS)
    for command in COMMANDS:
        epilog = f"example:\n  {command.example}"
        added = commands.add_parser(command.name, description=command.text, epilog=epilog, formatter_class=form)
        added.add_argument("-v", "--verbose", action="store_true", help="say what happens")
        if command.name == chosen:
            command.add_arguments(added)
            added.set_defaults(run=command.run)
    return parser


def _overview() -> str:
    """The commands by job."""
    texts = {command.name: command.text for command in COMMANDS}
    lines = ["Deploy LE-HRNet, a light pose network: train, export, calibrate, run, measure.", ""]
    for job, names in JOBS.items():
        lines += [f"{job}:", *(f"  {name:13} {texts[name]}" for name in names), ""]
    return "\n".join([*lines, "`lehrnet COMMAND --help` has the options of each, with an example."])

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
from . import engines, importing, measuring, networks, running, serving, training, web
from .command import BAD_INPUT, INTERRUPTED, OUR_FAULT, TERMINATED

COMMANDS = (
    *networks.COMMANDS,
    *importing.COMMANDS,
    *training.COMMANDS,
    *running.COMMANDS,
    *serving.COMMANDS,
    *web.COMMANDS,
    *engines.COMMANDS,
    *measuring.COMMANDS,
)
JOBS = {
    "train a network": ("data", "pack", "train", "finetune"),
    "make its bundle": ("export", "import", "build-engine", "extract"),
    "check it": ("verify", "evaluate", "doctor"),
    "run it": ("predict", "web", "demo"),
    "serve it": ("serve", "batch"),
    "measure it": ("info", "bench", "tune"),
}
EPILOG = """\
examples:
  lehrnet info                                    what the default network costs, beside the paper
  lehrnet export weights.safetensors --out bundle
  lehrnet verify bundle --data coco/              ONNX against PyTorch, on photographs
  lehrnet predict bundle photo.jpg --out out/     keypoints.json and a drawing
"""


class Terminated(BaseException):
    """SIGTERM as an exception, so that unfinished files are removed while it propagates."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code.

    0: success; 1: a check or some of the items failed; 2: invalid input or a missing requirement; 3: a bug in lehrnet;
    130 or 143: ended by SIGINT or SIGTERM.
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
    except BrokenPipeError:  # the reader of the pipe has exited, as in `lehrnet ... | head`
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
        said = f"{type(error).__name__}: {error}; this is a bug in lehrnet {__version__}: please report it"
        return _failed(said if verbose else f"{said}, with the output of -v", OUR_FAULT, verbose)


def _failed(text: str, code: int, verbose: bool = False) -> int:
    """Print an error on one line, preceded by the traceback if `verbose`, and return the exit code."""
    if verbose:
        traceback.print_exc()
    print(f"lehrnet: error: {printable(text)}", file=sys.stderr)
    return code


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that unfinished files are removed."""

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
    """Log to standard error with control characters escaped, since file names may contain terminal sequences."""

    class Printable(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return printable(super().format(record))

    logging.basicConfig(level=level)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(Printable("%(message)s"))


def _parser(chosen: str) -> argparse.ArgumentParser:
    """The parser. Only the chosen command gets its arguments, so that other commands' imports are not loaded."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "lehrnet",
        usage="lehrnet [-h] [--version] COMMAND ...",
        description=_overview(),
        epilog=EPILOG,
        formatter_class=form,
    )
    parser.add_argument("--version", action="version", version=f"lehrnet {__version__}")
    commands = parser.add_subparsers(required=True, prog="lehrnet", metavar="COMMAND", help=argparse.SUPPRESS)
    for command in COMMANDS:
        epilog = f"example:\n  {command.example}"
        added = commands.add_parser(command.name, description=command.text, epilog=epilog, formatter_class=form)
        added.add_argument("-v", "--verbose", action="store_true", help="log progress, and show tracebacks")
        if command.name == chosen:
            command.add_arguments(added)
            added.set_defaults(run=command.run)
    return parser


def _overview() -> str:
    """The list of commands, grouped by job."""
    texts = {command.name: command.text for command in COMMANDS}
    lines = ["Edge-deployment toolkit for LE-HRNet, a light human-pose network.", ""]
    for job, names in JOBS.items():
        lines += [f"{job}:", *(f"  {name:13} {texts[name]}" for name in names), ""]
    return "\n".join([*lines, "`lehrnet COMMAND --help` shows a command's options and an example."])

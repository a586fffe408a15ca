"""The command ``capsroute``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from capsroute import no_memory
from capsroute._version import __version__
from capsroute.cli import option_table
from capsroute.cli.errors import CommandError
from capsroute.cli.output import checked_output

__all__ = ["CommandError", "main"]

# One module each in this package, with add_parser(subparsers) and run(args) -> exit status. They import what is slow to
# import only when they run.
COMMANDS = ("train", "predict", "experiment", "bench", "info")

_INTERRUPTED = 130  # 128 + SIGINT, and 128 + SIGPIPE, as shells have it
_BROKEN_PIPE = 141


class _Parser(argparse.ArgumentParser):
    """Fails with the one sentence that every error of this command is."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(message)


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="capsroute", description="Fast routing for capsule networks.")
    parser.add_argument("--version", action="version", version=f"capsroute {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        import_module(f"capsroute.cli.{command}").add_parser(subparsers)
    option_table.describe(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program's name; None for those of the process.

    Returns:
        Exit status: 0; 2 for bad input, where standard output cannot be written and where memory has run out, with one
        sentence on standard error; 130 after Ctrl-C; 141 where the reader of standard output went away.
    """
    try:
        with checked_output():
            return _run(argv)
    except CommandError as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough, as in `capsroute info | head -1`
        return _BROKEN_PIPE
    except (MemoryError, OSError, RuntimeError) as error:
        sentence = no_memory.sentence_of(error)
        if sentence is None:
            raise
        return _failed(f"{sentence}; a smaller batch or problem needs less")


def _failed(sentence: str) -> int:
    print(f"capsroute: error: {sentence}\n", end="", file=sys.stderr)  # in one piece, as ranks share standard error
    return 2


def _run(argv: Sequence[str] | None) -> int:
    try:
        parser = _build_parser()
        args = parser.parse_args(argv)
        args.given = option_table.given_options(parser, argv)
        status: int = import_module(f"capsroute.cli.{args.command}").run(args)
    except SystemExit as ended:  # --help and --version
        return int(ended.code or 0)
    return status

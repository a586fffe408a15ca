"""What the long commands of this package share: their arguments and how they end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from capsroute.bench.files import check_writable


class Parser(argparse.ArgumentParser):
    """Answers wrong arguments with one sentence and status 2."""

    def error(self, message: str) -> Any:
        """Print the sentence and exit."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def parser(name: str, description: str | None) -> Parser:
    """A parser for ``python -m python_tests.reliability.NAME`` with ``--json``, where the figures go."""
    made = Parser(prog=f"python -m python_tests.reliability.{name}", description=description)
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    return made


def positive(text: str) -> int:
    """A number of at least 1, for ``type``."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def parsed(made: Parser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; a file that cannot be written is refused before the work rather than after it."""
    given = made.parse_args(arguments)
    check_json(given, made)
    return given


def check_json(arguments: argparse.Namespace, made: Parser) -> None:
    """Refuse a file that cannot be written."""
    try:
        if arguments.json is not None:
            check_writable(arguments.json)
    except OSError as error:
        made.error(f"cannot write {arguments.json}: {error.strerror or error}")


def run(main: Callable[[], int]) -> None:
    """Run a command; Ctrl-C ends it without a traceback."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

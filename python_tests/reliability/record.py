"""What the long commands of this package share: their arguments, and the JSON that they write."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from capsroute.bench import environment
from capsroute.bench.files import check_writable, replace

ROOT = Path(__file__).resolve().parents[2]


class Parser(argparse.ArgumentParser):
    """Answers wrong arguments with one sentence and status 2."""

    def error(self, message: str) -> Any:
        """Print the sentence and exit."""
        self.exit(2, f"{self.prog}: {message}\n")


def parser(name: str, description: str | None) -> Parser:
    """A parser for ``python -m python_tests.reliability.NAME`` with ``--out``, where the JSON goes."""
    made = Parser(prog=f"python -m python_tests.reliability.{name}", description=description)
    made.add_argument("--out", type=Path, metavar="FILE", help="write the results here, as JSON")
    return made


def check_out(arguments: argparse.Namespace, made: Parser) -> None:
    """Refuse a file that cannot be written, before the work rather than after it."""
    try:
        if arguments.out is not None:
            check_writable(arguments.out)
    except OSError as error:
        made.error(f"cannot write {arguments.out}: {error.strerror or error}")


def origin() -> dict[str, Any]:
    """Where results come from: environment and commit."""
    head = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(head, capture_output=True, text=True, check=False).stdout.strip() or None
    return {"environment": environment.describe(), "commit": commit}


def write(out: Path | None, results: dict[str, Any]) -> None:
    """Write results with their origin, if they are to be written at all."""
    if out is not None:
        replace(out, json.dumps({**origin(), **results}, indent=1) + "\n")


def update(out: Path | None, results: dict[str, list[dict[str, Any]]], keys: Sequence[str]) -> None:
    """Put rows in the place of those with the same ``keys`` in results that are there already; others go to the end.

    The file says that these came later, and from where.
    """
    if out is None:
        return
    content = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {**origin(), "later": []}
    for name, rows in results.items():
        by_key = {tuple(row.get(key) for key in keys): row for row in [*content.get(name, []), *rows]}
        content[name] = list(by_key.values())
    content.setdefault("later", []).append(origin())
    replace(out, json.dumps(content, indent=1) + "\n")


def read(name: str) -> dict[str, Any]:
    """The committed results of a command."""
    content: dict[str, Any] = json.loads((ROOT / f"docs/results/reliability/{name}.json").read_text(encoding="utf-8"))
    return content


def run(main: Callable[[], int]) -> None:
    """Run a command; Ctrl-C ends it without a traceback."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

"""What the commands that measure one comparison share: their options, their page, and what they leave behind."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import files
from .contenders import Row
from .texts import Columns, paragraph, significant

# Milliseconds.
TIMES: Columns[Row] = {
    "ms": lambda row: significant(row.seconds, 1e3),
    "quartiles": lambda row: (
        "-"
        if row.seconds is None
        else f"{significant(row.lower_seconds, 1e3)} to {significant(row.upper_seconds, 1e3)}"
    ),
}


def positive(text: str) -> int:
    """An int of at least 1, for argparse."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be an int of at least 1, got {text!r}")
    return value


def parser(module: str, description: str | None, rounds: int) -> argparse.ArgumentParser:
    """The parser of ``python -m module`` with the options that all have.

    Args:
        module: Its whole name.
        description: What it measures.
        rounds: Timed rounds where nothing is said.
    """
    made = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    made.add_argument("--rounds", type=positive, default=rounds, help="timed rounds in which all take turns")
    made.add_argument("--json", type=Path, help="write everything measured to this file")
    made.add_argument("--table", type=Path, help="write the page with the table to this file")
    return made


def tell(text: str) -> None:
    """Say what is being done."""
    print(f"{text} …", flush=True)


def page(
    title: str,
    origin: str,
    where: str,
    about: str,
    table: Sequence[str],
    notes: Sequence[str],
    below: Sequence[str] = (),
) -> str:
    """The page of a run.

    Args:
        title: Its heading.
        origin: The sentence that says who wrote it.
        where: The machine, and what else the numbers depend on.
        about: What was measured.
        table: Its lines.
        notes: An entry for each contender that has no figures.
        below: Paragraphs that follow.
    """
    lines = [f"# {title}", "", origin, "", *paragraph(f"{where}."), "", *paragraph(about), "", *table]
    lines += ["", *(f"- {note}" for note in notes)] if notes else []
    for text in below:
        lines += ["", *paragraph(text)]
    return "\n".join(lines) + "\n"


def finish(args: argparse.Namespace, content: dict[str, Any], text: str) -> None:
    """Print the page, and write the files that were asked for."""
    print(text)
    if args.json is not None:
        files.write_json(args.json, content)
    if args.table is not None:
        files.replace(args.table, text)

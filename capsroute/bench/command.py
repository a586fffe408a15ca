"""What the commands that measure one comparison share: their options, and what they leave behind."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from . import files


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


def finish(args: argparse.Namespace, content: dict[str, Any], page: str) -> None:
    """Print the page, and write the files that were asked for."""
    print(page)
    if args.json is not None:
        files.replace(args.json, json.dumps(content, indent=1) + "\n")
    if args.table is not None:
        files.replace(args.table, page)

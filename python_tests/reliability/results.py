"""The figures of the long runs: files of JSON that say when, where and from what they came."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capsroute.bench import environment
from capsroute.bench.files import replace
from python_tests.packaging.tree import ROOT, commit

FOLDER = ROOT / "docs/results/reliability"


def origin() -> dict[str, Any]:
    """Where figures come from."""
    return {"commit": commit(), "environment": environment.describe()}


def write(path: Path | None, content: Mapping[str, Any]) -> None:
    """Write figures with their origin, if they are to be written at all."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, json.dumps({**origin(), **content}, indent=1) + "\n")


def update(path: Path | None, rows_by_name: Mapping[str, list[dict[str, Any]]], keys: Sequence[str]) -> None:
    """Put rows in the place of those with the same ``keys`` in figures that are there already; others go to the end.

    The file says that these came later, and from where.
    """
    if path is None:
        return
    content = read(path) if path.exists() else {**origin(), "later": []}
    for name, rows in rows_by_name.items():
        by_key = {tuple(row.get(key) for key in keys): row for row in [*content.get(name, []), *rows]}
        content[name] = list(by_key.values())
    content.setdefault("later", []).append(origin())
    replace(path, json.dumps(content, indent=1) + "\n")


def read(path: Path) -> dict[str, Any]:
    """The figures in a file."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def kept(name: str) -> dict[str, Any]:
    """The figures that are committed."""
    return read(FOLDER / f"{name}.json")

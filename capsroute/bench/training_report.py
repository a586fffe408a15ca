"""What a run of training steps leaves behind: a table, and a JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table

from . import files
from .texts import number
from .training_suite import Row
from .workload import OURS

_COLUMNS = ("ms", "images/s", "routing", "share", "MiB", "x eager", "x compile")


def table(rows: Sequence[Row]) -> Group:
    """The rows of one run; below them what could not be measured. It fits a terminal of 80 characters."""
    first = rows[0]
    grid = Table(
        title=f"training step: {first.batch} images, convolutions in {first.convolutions}, routing in float32",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    grid.add_column("", min_width=17, no_wrap=True)
    for name in _COLUMNS:
        grid.add_column(name, justify="right", min_width=max(7, len(name)), no_wrap=True)
    for row in rows:
        grid.add_row(*cells(row), style="bold" if row.contender == OURS else None)
    return Group(grid, *(f"{row.contender}: {row.problem}" for row in rows if row.problem is not None))


def cells(row: Row) -> list[str]:
    """The texts of one row: milliseconds of the step and of the routing alone, its share of the step in percent."""
    return [
        row.contender,
        number(row.seconds, ".0f", 1e3),
        number(row.images_per_second, ".1f"),
        number(row.routing_seconds, ".1f", 1e3),
        number(row.routing_share, ".0%"),
        number(row.extra_bytes, ".0f", 2**-20),
        number(row.x_eager, ".2f"),
        number(row.x_compile, ".2f"),
    ]


def write_json(path: Path, environment: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write all of a run."""
    content = {"environment": environment, "rows": [asdict(row) for row in rows]}
    files.replace(path, json.dumps(content, indent=1) + "\n")

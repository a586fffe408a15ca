"""What runs show on the terminal: a table that grows while one goes on, and one of training steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .contenders import OURS, RowT
from .shapes import Shape
from .suite import Row, title
from .texts import Columns, cells, number
from .training_suite import Row as TrainingRow

# "x eager" and "x comp." are the speed-ups over the fastest eager and the fastest compiled contender; the two shares
# are of the measured limits. Narrow, so that they fit a terminal of 80 characters.
COLUMNS: Columns[Row] = {
    "": lambda row: f"  {row.contender}",
    "ms": lambda row: number(row.seconds, ".3g", 1e3),
    "x eager": lambda row: number(row.speedup, ".2f"),
    "x comp.": lambda row: number(row.compile_speedup, ".2f"),
    "% peak": lambda row: number(row.peak_share, ".1f", 100),
    "% GB/s": lambda row: number(row.bandwidth_share, ".1f", 100),
    "MiB": lambda row: number(row.extra_bytes, ".1f", 2**-20),
    "error": lambda row: number(row.error, ".0e"),
}
# Milliseconds of the step and of the routing alone, and its share of the step.
TRAINING_COLUMNS: Columns[TrainingRow] = {
    "": lambda row: row.contender,
    "ms": lambda row: number(row.seconds, ".0f", 1e3),
    "images/s": lambda row: number(row.images_per_second, ".1f"),
    "routing": lambda row: number(row.routing_seconds, ".1f", 1e3),
    "share": lambda row: number(row.routing_share, ".0%"),
    "MiB": lambda row: number(row.extra_bytes, ".0f", 2**-20),
    "x eager": lambda row: number(row.x_eager, ".2f"),
    "x compile": lambda row: number(row.x_compile, ".2f"),
}


def training_table(rows: Sequence[TrainingRow]) -> Group:
    """The rows of one run of training steps; below them what could not be measured."""
    first = rows[0]
    title = f"training step: {first.batch} images, convolutions in {first.convolutions}, routing in float32"
    table = _empty_table(title, TRAINING_COLUMNS, 17, 7)
    for row in rows:
        _add_row(table, TRAINING_COLUMNS, row)
    return Group(table, *(f"{row.contender}: {row.problem}" for row in rows if row.problem is not None))


def _empty_table(title: str, columns: Columns[Any], first_width: int, width: int) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    first, *others = columns
    table.add_column(first, min_width=first_width, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", min_width=max(width, len(name)), no_wrap=True)
    return table


def _add_row(table: Table, columns: Columns[RowT], row: RowT) -> None:
    table.add_row(*cells(columns, row), style="bold" if row.contender == OURS else None)


class LiveReport:
    """Shows one table per shape, row by row, with a line below it that says what is being done.

    Where the output is not a terminal each table is printed once, when its shape is done.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._shape: Shape | None = None
        self._table = Table()
        self._notes: list[str] = []
        self._live: Live | None = None

    def __enter__(self) -> LiveReport:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def headline(self, text: str) -> None:
        """Print what stands above all tables, such as the machine and its limits."""
        self.console.print(text, highlight=False)

    def tell(self, shape: Shape, text: str) -> None:
        """Say below the table of ``shape`` what is being done; a new shape begins a new table."""
        self._turn_to(shape)
        self._show(Text(f"{text} …", style="dim"))

    def add(self, shape: Shape, rows: list[Row]) -> None:
        """Add finished rows to the table of ``shape``."""
        self._turn_to(shape)
        first = rows[0]
        self._table.add_row(title(first.passes, first.gradient))
        for row in rows:
            _add_row(self._table, COLUMNS, row)
            if row.problem is not None:
                self._notes.append(f"{row.contender}, {row.passes}: {row.problem}")
        self._table.add_section()
        self._show()

    def _turn_to(self, shape: Shape) -> None:
        if shape == self._shape:
            return
        self._close()
        self._shape = shape
        self._table = _empty_table(f"{shape.name}: B, I, d, J, D, T = {shape.sizes()}", COLUMNS, 24, 6)
        self._notes = []
        self._live = Live(console=self.console, auto_refresh=False)
        self._live.start()

    def _show(self, *below: RenderableType) -> None:
        if self._live is not None:
            self._live.update(Group(self._table, *self._notes, *below), refresh=self.console.is_terminal)

    def _close(self) -> None:
        if self._live is not None:
            self._show()
            self._live.stop()
            self._live = None
            if not self.console.is_terminal:
                self.console.line()  # which Live adds on terminals only

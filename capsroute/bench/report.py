"""What a run shows while it goes on: a table that grows on the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .shapes import Shape
from .suite import Row, title
from .texts import number
from .workload import OURS

# "x eager" and "x comp." are the speed-ups over the fastest eager and the fastest compiled contender; the two shares
# are of the measured limits. Narrow, so that they fit a terminal of 80 characters.
_COLUMNS = ("ms", "x eager", "x comp.", "% peak", "% GB/s", "MiB", "error")


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
            self._table.add_row(*cells(row), style="bold" if row.contender == OURS else None)
            if row.problem is not None:
                self._notes.append(f"{row.contender}, {row.passes}: {row.problem}")
        self._table.add_section()
        self._show()

    def _turn_to(self, shape: Shape) -> None:
        if shape == self._shape:
            return
        self._close()
        self._shape = shape
        heading = f"{shape.name}: B, I, d, J, D, T = {shape.sizes()}"
        self._table = Table(title=heading, title_justify="left", box=box.SIMPLE_HEAD, padding=0)
        self._notes = []
        self._table.add_column("", min_width=24, no_wrap=True)
        for name in _COLUMNS:
            self._table.add_column(name, justify="right", min_width=max(6, len(name)), no_wrap=True)
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


def cells(row: Row) -> list[str]:
    """The texts of one row of the table; dashes for what was not measured."""
    return [
        f"  {row.contender}",
        number(row.seconds, ".3g", 1e3),
        number(row.speedup, ".2f"),
        number(row.compile_speedup, ".2f"),
        number(row.peak_share, ".1f", 100),
        number(row.bandwidth_share, ".1f", 100),
        number(row.extra_bytes, ".1f", 2**-20),
        number(row.error, ".0e"),
    ]

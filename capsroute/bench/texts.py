"""Numbers and tables as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def number(value: float | None, form: str, scale: float = 1.0) -> str:
    """``value * scale`` in a format; a dash for what was not measured."""
    return "-" if value is None else format(value * scale, form)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table whose first column is text and whose others are numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]

"""Numbers and tables as text."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")
Columns = Mapping[str, Callable[[T], str]]  # from the head of each column to its cell in a row


def number(value: float | None, form: str, scale: float = 1.0) -> str:
    """``value * scale`` in a format; a dash for what was not measured."""
    return "-" if value is None else format(value * scale, form)


def significant(value: float | None, scale: float = 1.0) -> str:
    """``value * scale`` with three digits, or all of those before the point; a dash for what was not measured."""
    return number(value, ".0f" if value is not None and value * scale >= 100 else ".3g", scale)


def paragraph(text: str) -> list[str]:
    """The lines of a paragraph of a document."""
    return textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table whose first column is text and whose others are numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


def cells(columns: Columns[T], row: T) -> list[str]:
    """The cells of a row."""
    return [cell(row) for cell in columns.values()]


def table(columns: Columns[T], rows: Iterable[T]) -> list[str]:
    """As :func:`markdown_table`, of columns that know their cells."""
    return markdown_table(list(columns), (cells(columns, row) for row in rows))

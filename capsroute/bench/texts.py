"""Numbers and tables as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence


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

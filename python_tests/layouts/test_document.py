"""The tables of docs/layouts.md say what the data says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from capsroute.layouts import LAYOUTS, known, module_options, sources
from capsroute.layouts.modules import SOURCES
from python_tests.packaging.tree import ROOT

DOCUMENT = ROOT / "docs" / "layouts.md"


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def code(text: str | None) -> str:
    return f"`{text}`" if text else "-"


def arguments(options: Mapping[str, Any]) -> str:
    return ", ".join(code(f"{name}={value!r}".replace("'", '"')) for name, value in options.items()) or "-"


def layouts() -> Iterable[str]:
    yield row("name", "weight", "votes", "remark")
    yield row(*["---"] * 4)
    for name in known():
        layout = LAYOUTS[name]
        yield row(name, code(layout.weight), code(layout.votes), layout.remark or "-")


def modules() -> Iterable[str]:
    yield row("source", "becomes", "arguments", "remark")
    yield row(*["---"] * 4)
    for name in sources():
        source = SOURCES[name]
        yield row(name, source.target, arguments(module_options(name)), source.remark.replace("*", r"\*") or "-")


@pytest.mark.parametrize("table", [layouts, modules])
def test_tables_say_what_the_data_says(table: Any) -> None:
    expected = "\n".join(table())
    assert f"\n\n{expected}\n\n" in DOCUMENT.read_text(), f"the table must be\n\n{expected}"

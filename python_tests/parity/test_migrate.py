"""The tables of docs/migrate.md and of the tests are the same."""

from __future__ import annotations

import re
from typing import Any

from capsroute.layouts import LAYOUTS, module_options, sources
from capsroute.routing.keywords import RoutingKeywords

from ..packaging.tree import ROOT
from .differences import DIFFERENCES
from .page import PAGE
from .row import Row
from .rows import ROWS

TEXT = (ROOT / PAGE).read_text()


def _tables() -> list[dict[str, dict[str, Any]]]:
    """Options by implementation, of each table whose first columns are these."""
    tables: list[dict[str, dict[str, Any]]] = []
    for line in TEXT.splitlines():
        if line.startswith("| implementation | options |"):
            tables.append({})
        elif line.startswith("| `") and tables:
            name, options = (cell.strip() for cell in line.split("|")[1:3])
            code = re.fullmatch("`(.*)`", options)
            tables[-1][name.replace("`", "", 2)] = eval(f"dict({code[1]})") if code else {}
    return tables


def _options(rows: list[Row]) -> dict[str, dict[str, Any]]:
    return {row.name: row.options for row in rows}


def test_rows_have_names_of_their_own() -> None:
    assert len(_options(ROWS + DIFFERENCES)) == len(ROWS) + len(DIFFERENCES)


def test_each_entry_has_its_row_and_each_row_its_entry() -> None:
    expressed, faulty = _tables()
    assert expressed == _options(ROWS)
    assert faulty == _options(DIFFERENCES)


def test_each_implementation_has_a_passage() -> None:
    below = TEXT.split("## Fully connected layers in PyTorch")[1]
    repositories = {re.split("[:,]", row.name)[0] for row in ROWS + DIFFERENCES}
    assert not {repository for repository in repositories if repository not in below}, "in a table and nowhere else"


def test_each_layout_has_an_entry() -> None:
    """An implementation whose weights can be read can be replaced, or it is said why not."""
    named = {name.split(",")[0] for table in _tables() for name in table}
    assert not {layout for layout in LAYOUTS if layout not in named and layout not in TEXT}


LOOPS = {"alibaba/TorchEasyRec:CapsuleLayer"}  # options alone do not make it


def test_options_of_converted_modules_are_those_of_the_page() -> None:
    """capsroute.layouts.module_options and this page say the same of one implementation."""
    for source in set(sources()) - LOOPS:
        given = module_options(source)
        defaults = {"gradient": "last", "eps": 1e-9} if "bilinear_type" in given else {}  # of InterestCapsules
        routing = {name: value for name, value in given.items() if name in RoutingKeywords.__annotations__}
        rows = [row.options for row in ROWS + DIFFERENCES if re.split("[:,]", row.name)[0] == source.split(":")[0]]
        uncounted = [{name: value for name, value in row.items() if name != "iterations"} for row in rows]
        assert {**defaults, **routing} in rows + uncounted, source

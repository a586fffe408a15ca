"""The tables of docs/migrate.md and of the tests are the same."""

from __future__ import annotations

import re
from typing import Any

import pytest

from capsroute.layouts import LAYOUTS, module_options, sources
from capsroute.routing.options import RoutingKeywords

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


@pytest.mark.parametrize("row", ROWS + DIFFERENCES, ids=lambda row: row.name)
def test_each_implementation_has_a_passage(row: Row) -> None:
    repository = re.split("[:,]", row.name)[0]
    below = TEXT.split("## Fully connected layers in PyTorch")[1]
    assert repository in below, f"{repository} is in a table and nowhere else"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_has_an_entry(layout: str) -> None:
    """An implementation whose weights can be read can be replaced, or it is said why not."""
    assert any(name.split(",")[0] == layout for table in _tables() for name in table) or layout in TEXT


LOOPS = {"alibaba/TorchEasyRec:CapsuleLayer"}  # options alone do not make it


@pytest.mark.parametrize("source", [source for source in sources() if source not in LOOPS])
def test_options_of_converted_modules_are_those_of_the_page(source: str) -> None:
    """capsroute.layouts.module_options and this page say the same of one implementation."""
    given = module_options(source)
    defaults = {"gradient": "last", "eps": 1e-9} if "bilinear_type" in given else {}  # of InterestCapsules
    options = {**defaults, **{name: value for name, value in given.items() if name in RoutingKeywords.__annotations__}}
    stated = [row.options for row in ROWS + DIFFERENCES if re.split("[:,]", row.name)[0] == source.split(":")[0]]
    uncounted = [{name: value for name, value in row.items() if name != "iterations"} for row in stated]
    assert options in stated + uncounted

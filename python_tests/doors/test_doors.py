"""Every cell of models x doors is what its row says, and the page shows what was tried."""

from __future__ import annotations

import pytest

from .. import lanes
from . import page
from .columns import COLUMNS
from .door import FAILS
from .table import DOORS


@pytest.mark.parametrize(
    "name", [name if door.quick else pytest.param(name, marks=pytest.mark.nightly) for name, door in DOORS.items()]
)
def test_door(name: str) -> None:
    door = DOORS[name]
    found = {column: door.judge(column) for column in (COLUMNS if lanes.EVERYTHING else door.quick)}
    wrong = {column: cell for column, cell in found.items() if cell.partition(":")[0] != door.expected(column)}
    assert not wrong


def test_page_follows_from_the_committed_cells() -> None:
    now, anew = page.written()
    assert now == anew, "run make figures"


def test_committed_cells_are_those_of_all_doors() -> None:
    found = page.results.read(page.RESULTS)
    kinds = {
        row["door"]: {name: cell.partition(":")[0] for name, cell in row["cells"].items()} for row in found["doors"]
    }
    assert kinds == {name: {column: door.expected(column) for column in COLUMNS} for name, door in DOORS.items()}
    assert FAILS not in str(found["doors"])

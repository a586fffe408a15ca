"""The notebook of the tour runs, its assertions hold, and it prints what is committed, but for the numbers."""

from __future__ import annotations

import copy
import os
import re

import nbclient
import nbformat
import pytest

from .tree import ROOT

TOUR = ROOT / "docs" / "tour.ipynb"
NUMBER = re.compile(r"[\d.]+(e[+-]\d+)?")


@pytest.fixture(scope="module")
def committed() -> nbformat.NotebookNode:
    return nbformat.read(TOUR, as_version=4)


def printed(notebook: nbformat.NotebookNode) -> list[str]:
    """What each cell of code prints, without its numbers."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [NUMBER.sub("#", "".join(output.get("text", "") for output in cell.outputs)) for cell in cells]


@pytest.mark.nightly
def test_every_cell_runs(committed: nbformat.NotebookNode, monkeypatch: pytest.MonkeyPatch) -> None:
    # Other tests run beside this one, and threads that wait for each other would wait for those too.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = copy.deepcopy(committed)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT / "docs")}}).execute()
    first, *others = printed(notebook)
    assert first.startswith("capsroute")  # and then the instruction sets of this build
    assert others == printed(committed)[1:]


def test_the_committed_outputs_are_small_and_of_no_machine(committed: nbformat.NotebookNode) -> None:
    assert TOUR.stat().st_size < 200_000
    nbformat.validate(committed)
    text = TOUR.read_text()
    assert os.path.expanduser("~") not in text
    assert str(ROOT) not in text
    outputs = [cell.outputs for cell in committed.cells if cell.cell_type == "code"]
    assert all(outputs), "a cell without its outputs: run scripts/tour.py before a commit"
    assert {output.output_type for cell in outputs for output in cell} <= {"stream", "display_data"}
    assert not [output for cell in outputs for output in cell if output.get("name") == "stderr"]

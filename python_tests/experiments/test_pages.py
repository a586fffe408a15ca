"""The pages of the experiments follow from their committed results, and nobody edits their tables by hand."""

from __future__ import annotations

import pytest

from capsroute.bench.figures import put
from capsroute.experiments import EXPERIMENTS
from capsroute.experiments.pages import block, pages
from capsroute.experiments.record import Record
from python_tests.packaging.tree import ROOT

FOLDER = ROOT / "docs/experiments"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_page_follows_from_the_committed_result(name):
    record = Record.read(FOLDER / f"results/{name}.json")
    page = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    assert page == put(block(record), page), "run make figures"
    assert len(record.seeds) >= 3
    assert not record.scale["full"]
    assert f"results/{name}.png" in page
    assert (FOLDER / f"results/{name}.png").is_file()
    assert f"capsroute experiment {name}" in page


def test_nothing_but_experiments_has_results():
    assert {path.stem for path in pages(FOLDER)} == set(EXPERIMENTS)

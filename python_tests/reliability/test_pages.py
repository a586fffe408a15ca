"""The pages of numbers and training follow from their committed results, and these show what they claim."""

from __future__ import annotations

import pytest

from capsroute.bench.figures import put

from . import numbers, pages, record, training
from .runs import WRONG, Curve
from .stress import STRESSES


@pytest.mark.parametrize("name", pages.PAGES)
def test_page_follows_from_the_committed_result(name: str) -> None:
    page = (record.ROOT / f"docs/reliability/{name}.md").read_text(encoding="utf-8")
    assert page == put(pages.PAGES[name](record.read(name)), page), "run python -m python_tests.reliability.pages"
    assert f"python -m python_tests.reliability.{name} --out docs/results/reliability/{name}.json" in page


def test_every_stress_is_there_and_holds() -> None:
    results = record.read("numbers")
    measured = [(row["stress"], row["dtype"]) for row in results["errors"]]
    assert sorted(measured) == sorted((s.name, str(dtype)[6:]) for s in STRESSES for dtype in s.dtypes)
    assert not [row for row in results["errors"] if row["problems"]]
    assert all(found["agrees"] for row in results["differences"] for found in row["arguments"].values())
    assert not [row for row in results["poison"] if row["leaked"] or row["silent"]]
    page = " ".join((record.ROOT / "docs/reliability/numbers.md").read_text(encoding="utf-8").split())
    for reason in numbers.KNOWN.values():
        assert reason in page


def test_the_op_trains_as_its_definition_does() -> None:
    results = record.read("training")
    assert results["epochs"] == training.EPOCHS
    assert {name: [c["seed"] for c in runs] for name, runs in results["curves"].items()} == {
        name: list(seeds) for name, seeds in training.plan().items()
    }
    rows = results["comparisons"]
    assert {(row["outcome"], row["runs"]) for row in rows} == {
        (outcome, name) for outcome in training.OUTCOMES for name in ("op", "op, other seeds", *WRONG)
    }
    assert all(row["equivalent"] for row in rows if row["runs"] == "op")
    seen = {row["runs"] for row in rows if row["runs"] in WRONG and not row["equivalent"]}
    assert seen, "the comparison is blind"


def test_the_comparisons_follow_from_the_curves() -> None:
    results = record.read("training")
    curves = {name: [Curve(**curve) for curve in runs] for name, runs in results["curves"].items()}
    for row, again in zip(results["comparisons"], training.compare(curves), strict=True):
        assert row == {name: pytest.approx(v) if isinstance(v, float) else v for name, v in again.items()}

"""The pages follow from the committed figures, and these show what they claim."""

from __future__ import annotations

import pytest

from . import numbers, pages, results, training
from .runs import WRONG, Curve
from .stress import STRESSES


@pytest.mark.parametrize("name", pages.PAGES)
def test_page_follows_from_the_committed_figures(name: str) -> None:
    page, anew = pages.written(name)
    assert page == anew, "run make figures"


@pytest.mark.parametrize(
    ("name", "command", "figures"),
    [
        ("faults", "memory", "memory"),
        ("fuzzing", "fuzz", "fuzzing"),
        ("fuzzing", "readers", "readers"),
        ("numbers", "numbers", "numbers"),
        ("sanitizers", "planted", "planted"),
        ("training", "training", "training"),
    ],
)
def test_page_names_the_command_of_its_figures(name: str, command: str, figures: str) -> None:
    lines = pages.written(name)[0].splitlines()
    (line,) = [line for line in lines if f"--json docs/results/reliability/{figures}.json" in line]
    assert f"python -m python_tests.reliability.{command} " in line


def test_every_stress_is_there_and_holds() -> None:
    found = results.kept("numbers")
    measured = [(row["stress"], row["dtype"]) for row in found["errors"]]
    assert sorted(measured) == sorted((s.name, str(dtype)[6:]) for s in STRESSES for dtype in s.dtypes)
    assert not [row for row in found["errors"] if row["problems"]]
    assert all(each["agrees"] for row in found["differences"] for each in row["arguments"].values())
    assert not [row for row in found["poison"] if row["leaked"] or row["silent"]]
    page = " ".join((results.ROOT / "docs/reliability/numbers.md").read_text(encoding="utf-8").split())
    for reason in numbers.KNOWN.values():
        assert reason in page


def test_the_op_trains_as_its_definition_does() -> None:
    found = results.kept("training")
    assert found["epochs"] == training.EPOCHS
    assert {name: [c["seed"] for c in runs] for name, runs in found["curves"].items()} == {
        name: list(seeds) for name, seeds in training.plan().items()
    }
    rows = found["comparisons"]
    assert {(row["outcome"], row["runs"]) for row in rows} == {
        (outcome, name) for outcome in training.OUTCOMES for name in ("op", "op, other seeds", *WRONG)
    }
    assert all(row["equivalent"] for row in rows if row["runs"] == "op")
    seen = {row["runs"] for row in rows if row["runs"] in WRONG and not row["equivalent"]}
    assert seen, "the comparison is blind"


def test_the_comparisons_follow_from_the_curves() -> None:
    found = results.kept("training")
    curves = {name: [Curve(**curve) for curve in runs] for name, runs in found["curves"].items()}
    for row, again in zip(found["comparisons"], training.compare(curves), strict=True):
        assert row == {name: pytest.approx(v) if isinstance(v, float) else v for name, v in again.items()}

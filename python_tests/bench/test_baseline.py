"""Made-up runs beside made-up baselines."""

from __future__ import annotations

from pathlib import Path

import pytest

from capsroute.bench.baseline import Baseline, Ratios, Verdict, compare
from capsroute.bench.suite import Row


def row(shape: str, gradient: str | None, eager: float | None, compiled: float | None) -> Row:
    passes = "forward" if gradient is None else "forward+backward"
    return Row(shape, "", passes, gradient, "float32", contender="capsroute", speedup=eager, compile_speedup=compiled)


BASELINE = Baseline(
    {"torch": "2"},
    "float32",
    (Ratios("mnist", "forward", None, 20.0, 15.0), Ratios("mnist", "forward+backward", "all", 30.0, None)),
)


@pytest.mark.parametrize(("eager", "lost"), [(99.0, False), (16.1, False), (15.9, True)])
def test_a_fifth_is_too_much(eager: float, lost: bool) -> None:
    verdict = compare(BASELINE, [row("mnist", None, eager, 15.0)])
    assert (verdict.compared, bool(verdict.losses)) == (2, lost)


def test_a_sentence_for_each_loss() -> None:
    verdict = compare(BASELINE, [row("mnist", None, 10.0, 3.0), row("mnist", "all", 15.0, 1.0)])
    assert verdict.compared == 3
    assert verdict.losses == (
        "mnist, forward: 10 times as fast as the best eager peer, 20 times in the baseline, a loss of 50%.",
        "mnist, forward: 3 times as fast as the best compile peer, 15 times in the baseline, a loss of 80%.",
        "mnist, forward+backward (all): 15 times as fast as the best eager peer, 30 times in the baseline, "
        "a loss of 50%.",
    )


def test_what_is_in_one_of_them_only_is_passed_over() -> None:
    rows = [row("odd", None, 1.0, 1.0), row("mnist", "last", 1.0, 1.0), row("mnist", None, None, 15.0)]
    assert compare(BASELINE, rows) == Verdict(compared=1, losses=())


def test_stored_and_read(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    peer = Row("mnist", "", "forward", None, "float32", contender="eager bmm", speedup=1.0)
    baseline = Baseline.of({"torch": "2"}, "float32", [row("mnist", None, 20.0, 15.0), peer])
    assert baseline.ratios == BASELINE.ratios[:1]
    baseline.write(path)
    assert Baseline.read(path) == baseline


@pytest.mark.parametrize("text", ["", "[]", '{"ratios": []}', '{"environment": {}, "dtype": "", "ratios": [{"a": 1}]}'])
def test_what_is_no_baseline(text: str, tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"baseline.json' holds no baseline"):
        Baseline.read(path)

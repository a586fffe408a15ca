"""The watch over memory: it sees what leaks, and what it saw of the package."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from python_tests.packaging.tree import ROOT

from .. import results
from .watch import LIMITS, grown, growth
from .work import PLANTED, WORK


def _watched(tmp_path: Path, *arguments: str, plant: Sequence[str] = ("",)) -> list[list[dict[str, Any]]]:
    """The rows of a run for each leak, in a process of its own, whose caches are not those of other tests."""
    program = f"""
from python_tests.reliability.memory.__main__ import main
for leak in {list(plant)}:
    planted = ["--plant", leak] if leak else []
    print(main([*{list(arguments)}, "--json", {str(tmp_path)!r} + "/of " + leak, *planted]))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads((tmp_path / f"of {leak}").read_text(encoding="utf-8"))["rows"] for leak in plant]
    statuses = [line for line in done.stdout.splitlines() if line in "01"]
    assert statuses == ["1" if any(row["grown"] for row in of) else "0" for of in rows]
    return rows


def test_nothing_grows(tmp_path: Path) -> None:
    """A cache that fills during so short a run may look like a leak, but not in the same place of the next run."""
    grown_in_each = []
    while len(grown_in_each) < 2:
        (rows,) = _watched(tmp_path, "--steps", "320")
        assert [row["work"] for row in rows] == list(WORK)
        grown_in_each.append({(row["work"], column) for row in rows for column in row["grown"]})
        if not grown_in_each[-1]:
            return
    assert not grown_in_each[0] & grown_in_each[1]


def test_planted_leaks_are_seen(tmp_path: Path) -> None:
    found = _watched(tmp_path, "--steps", "160", "--work", "refused arguments", plant=list(PLANTED))
    for (leak, (*_, column)), (row,) in zip(PLANTED.items(), found, strict=True):
        assert column in row["grown"], leak


def test_a_slope_is_found_among_jumps() -> None:
    at = list(range(0, 320, 10))
    assert growth(at, [7] * 32) == 0
    assert growth(at, [5 + 2 * step + (1000 if step == 100 else 0) for step in at]) == pytest.approx(2)
    for jump in (9, 16, 20, 26):
        assert growth(at, [0] * jump + [4096] * (32 - jump)) == 0


def test_the_committed_run_was_long_and_flat() -> None:
    record = results.kept("memory")
    rows = {row["work"]: row for row in record["rows"]}
    assert set(rows) == set(WORK)
    for name, (_, rarer) in WORK.items():
        assert rows[name]["steps"] >= 10_000 // rarer
        assert grown(rows[name]["samples"]) == {} == rows[name]["grown"]
    assert set(record["limits"]) == set(LIMITS)

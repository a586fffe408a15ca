"""The ratios in pytest-benchmark's file, with made-up times, and a real run of one group in small."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from capsroute.bench import ceilings, timing

from ..benchmarks.notes import add_ratios
from ..packaging.tree import ROOT


def entry(group: str, contender: str, median: float) -> dict[str, Any]:
    return {"group": group, "stats": {"median": median}, "extra_info": {"contender": contender}}


def test_ratios_are_those_to_the_best_of_the_group() -> None:
    entries = [
        entry("a", "capsroute", 1.0),
        entry("a", "eager einsum", 9.0),
        entry("a", "eager bmm", 8.0),
        entry("a", "compile bmm", 4.0),
        entry("b", "capsroute", 2.0),
        entry("b", "eager bmm", 1.0),
    ]
    add_ratios(entries)
    names = ("times_faster_than_eager", "times_faster_than_compile")
    assert [tuple(e["extra_info"].get(name) for name in names) for e in entries] == [
        (8.0, 4.0),
        (pytest.approx(8 / 9), pytest.approx(4 / 9)),
        (1.0, 0.5),
        (2.0, 1.0),
        (0.5, None),
        (1.0, None),
    ]


def test_groups_run_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``make bench`` does, in few rounds: the smallest shape, without the compiled peers."""
    monkeypatch.setattr(ceilings, "_ROUNDS", 1000)
    monkeypatch.setattr(ceilings, "_BYTES", 4096)
    monkeypatch.setattr(timing, "ROUNDS", 2)
    # Where the tests are spread over processes, pytest-benchmark would think that of this run too, and not measure.
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
        monkeypatch.delenv(name)
    path = tmp_path / "bench.json"
    words = ["-q", f"--rootdir={ROOT}", f"--benchmark-json={path}", "-p", "no:cacheprovider"]
    chosen = ["-k", "recommender-20 and all and not compile", str(ROOT / "python_tests" / "benchmarks")]
    assert pytest.main([*words, *chosen]) == 0
    entries = json.loads(path.read_text())["benchmarks"]
    ops = ("dynamic_routing", "route_votes")
    assert {(e["group"], e["extra_info"]["contender"]) for e in entries} == {
        (f"{op}, recommender-20, forward+backward (all)", contender)
        for op in ops
        for contender in ("capsroute", "eager einsum", "eager bmm")
    }
    for e in entries:
        noted = e["extra_info"]
        assert noted["sizes"] == "128, 20, 64, 4, 64, 3"
        assert noted["share_of_limit"] > 0
        assert noted["extra_bytes"] > 0
        assert noted["times_faster_than_eager"] > 0
    eager = [e["extra_info"]["times_faster_than_eager"] for e in entries if "eager" in e["extra_info"]["contender"]]
    assert eager.count(1.0) == len(ops)

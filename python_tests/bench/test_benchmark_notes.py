"""The ratios in pytest-benchmark's file, with made-up times, and a real run of one group in small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from python_tests.benchmarks.notes import add_ratios

ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize("op", ["dynamic_routing", "route_votes"])
def test_a_group_run_for_real(op: str, tmp_path: Path) -> None:
    """In a process of its own, as ``make bench`` does: the smallest shape, without the compiled peers."""
    path = tmp_path / "bench.json"
    words = ["-m", "pytest", f"python_tests/benchmarks/test_{op}.py", "-q", f"--benchmark-json={path}"]
    words += ["-p", "no:cacheprovider", "-k", "recommender-20 and all and not compile"]
    # Where the tests are spread over processes, pytest-benchmark would think that of this run too, and not measure.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    result = subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    entries = json.loads(path.read_text())["benchmarks"]
    assert [e["extra_info"]["contender"] for e in entries] == ["capsroute", "eager einsum", "eager bmm"]
    assert {e["group"] for e in entries} == {f"{op}, recommender-20, forward+backward (all)"}
    for e in entries:
        noted = e["extra_info"]
        assert noted["sizes"] == "128, 20, 64, 4, 64, 3"
        assert noted["share_of_limit"] > 0
        assert noted["extra_bytes"] > 0
        assert noted["times_faster_than_eager"] > 0
    assert max(e["extra_info"]["times_faster_than_eager"] for e in entries[1:]) == 1.0

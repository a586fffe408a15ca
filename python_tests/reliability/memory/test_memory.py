"""The watch over memory: it sees what leaks, and what it saw of the package."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from python_tests.packaging.tree import ROOT

from .. import results
from .watch import LIMITS, grown, growth
from .work import PLANTED, WORK


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, whose caches are not those of other tests."""
    command = [sys.executable, "-m", "python_tests.reliability.memory", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


def test_nothing_grows(tmp_path):
    """A cache that fills during so short a run may look like a leak, but not in the same place of the next run."""
    found = []
    for number in range(2):
        out = tmp_path / f"{number}.json"
        done = _command("--steps", "320", "--json", str(out))
        rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
        assert [row["work"] for row in rows] == list(WORK), done.stderr
        found.append({(row["work"], column) for row in rows for column in row["grown"]})
        assert done.returncode == (1 if found[-1] else 0)
        if not found[-1]:
            return
    assert not found[0] & found[1]


@pytest.mark.parametrize("leak", PLANTED)
def test_a_planted_leak_is_seen(leak: str):
    done = _command("--steps", "160", "--work", "refused arguments", "--plant", leak)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"grown {PLANTED[leak][1]}" in done.stdout or f", {PLANTED[leak][1]}" in done.stdout


def test_a_slope_is_found_among_jumps():
    at = list(range(0, 320, 10))
    assert growth(at, [7] * 32) == 0
    assert growth(at, [5 + 2 * step + (1000 if step == 100 else 0) for step in at]) == pytest.approx(2)
    for jump in (9, 16, 20, 26):
        assert growth(at, [0] * jump + [4096] * (32 - jump)) == 0


@pytest.mark.parametrize("arguments", [["--steps", "1"], ["--work", "none"], ["--json", "/none/there/memory.json"]])
def test_wrong_arguments_get_a_sentence(arguments: list[str]):
    done = _command(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("python -m python_tests.reliability.memory: error: ")
    assert done.stderr.count("\n") == 1


def test_the_committed_run_was_long_and_flat():
    record = results.kept("memory")
    rows = {row["work"]: row for row in record["rows"]}
    assert set(rows) == set(WORK)
    for name, (_, rarer) in WORK.items():
        assert rows[name]["steps"] >= 10_000 // rarer
        assert grown(rows[name]["samples"]) == {} == rows[name]["grown"]
    assert set(record["limits"]) == set(LIMITS)

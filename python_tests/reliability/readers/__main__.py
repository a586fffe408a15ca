"""Reads files that were damaged on purpose: ``python -m python_tests.reliability.readers --files 2000``."""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from python_tests.reliability import commands, results

from .files import Kind, kinds, read_one


def read_many(kind: Kind, path: Path, files: int, seed: int, failures: list[str]) -> dict[str, Any]:
    """Damage and read so many files of a kind; what was wrong goes to the failures."""
    outcomes: Counter[str] = Counter()
    longest = 0.0
    for number in range(files):
        kind.damage(path, random.Random(f"{seed}-{kind.name}-{number}"))
        start = perf_counter()
        try:
            outcomes[read_one(kind, path)] += 1
        except Exception:
            outcomes["failed"] += 1
            failures.append(f"{kind.name}, file {number}:\n{traceback.format_exc()}")
        longest = max(longest, perf_counter() - start)
    return {"files": files, **{name: outcomes[name] for name in ("refused", "read", "failed")}, "longest s": longest}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0 when every file was refused by a sentence or read right."""
    parser = commands.parser("readers", __doc__)
    parser.add_argument("--files", type=commands.positive, default=2000, help="of each kind (2,000)")
    parser.add_argument("--seed", type=commands.positive, default=1, help="of the damage (1)")
    given = commands.parsed(parser, arguments)
    failures: list[str] = []
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        all_kinds = kinds(Path(folder))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for kind in all_kinds:
            rows[kind.name] = read_many(kind, Path(folder) / "damaged", given.files, given.seed, failures)
            print(f"{kind.name}: {rows[kind.name]}", flush=True)
        growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    for text in failures:
        print(f"FAILED: {text}", file=sys.stderr)
    said = f"--files {given.files} --seed {given.seed}"
    results.write(given.json, {"arguments": said, "kinds": rows, "memory MiB": growth, "failures": failures})
    print(f"memory grew by {growth:.0f} MiB, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    commands.run(main)

"""Whether memory stays flat: ``python -m python_tests.reliability.memory --steps 10000 --json FILE``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch

from capsroute.bench import files

from .. import commands, results
from .watch import LIMITS, grown, growth, watch
from .work import PLANTED, WORK, leaking

FEWEST = 80


def _measure(name: str, steps: int, leak: str | None) -> dict[str, Any]:
    make, rarer = WORK[name]
    step = make() if leak is None else leaking(make(), leak)
    steps = max(FEWEST, steps // rarer)
    found = watch(step, steps)
    slopes = {column: growth(found["step"], found[column]) for column in LIMITS}
    return {"work": name, "steps": steps, "growth": slopes, "grown": grown(found), "samples": found}


def main(arguments: Sequence[str] | None = None) -> int:
    """Watches each kind of work; 0 when nothing grows, 1 when something does."""
    parser = commands.parser("memory", "Watch what the process holds over many steps of each kind of work.")
    parser.add_argument("--steps", type=int, default=10_000, metavar="N", help="of each kind of work (10000)")
    parser.add_argument("--work", choices=WORK, help="only this kind")
    parser.add_argument("--plant", choices=PLANTED, help="leak on purpose, which must be found")
    given = commands.parsed(parser, arguments)
    if given.steps < FEWEST:
        parser.error(f"--steps must be at least {FEWEST}, got {given.steps}")
    torch.set_num_threads(1)
    record: dict[str, Any] = {**results.origin(), "limits": LIMITS, "rows": []}
    for name in WORK if given.work is None else [given.work]:
        row = _measure(name, given.steps, given.plant)
        record["rows"].append(row)
        told = ", ".join(f"{column} by {slope:.3g} a step" for column, slope in row["grown"].items())
        print(f"{name}, {row['steps']:,} steps: {'grown ' + told if told else 'flat'}", flush=True)
        if given.json is not None:
            files.replace(given.json, json.dumps(record) + "\n")
    return 1 if any(row["grown"] for row in record["rows"]) else 0


if __name__ == "__main__":
    commands.run(main)

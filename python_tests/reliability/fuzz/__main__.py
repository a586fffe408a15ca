"""The long form of the fuzzing: ``python -m python_tests.reliability.fuzz --examples 20000``."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from python_tests.reliability import commands, results

from . import rounds

ROUND = 250  # calls from one seed


def run(examples: int, seed: int, processes: int) -> rounds.Tally:
    """All rounds, in so many processes."""
    tally = rounds.Tally()
    sizes = [min(ROUND, examples - first) for first in range(0, examples, ROUND)]
    spawning = multiprocessing.get_context("spawn")  # a process that has used OpenMP cannot be forked
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(processes, spawning) as pool:
        waiting = [
            pool.submit(rounds.run_telling, size, (seed << 32) + number, folder) for number, size in enumerate(sizes)
        ]
        try:
            for done, future in enumerate(as_completed(waiting), 1):
                found = future.result()
                tally.merge(found)
                for text in found.failures:
                    print(f"FAILED: {text}\n", file=sys.stderr, flush=True)
                said = f"{tally.total('outcome'):,} calls, {tally.total('wrong calls'):,} wrong ones"
                print(f"{done}/{len(sizes)} rounds: {said}, {len(tally.failures)} failures", flush=True)
        except BrokenProcessPool:
            last = [path.read_text(encoding="utf-8") for path in Path(folder).glob(f"{rounds.DRAWING}*")]
            tally.failures.append("a process was ended; what each was about to do:\n" + "\n".join(last))
            print(f"FAILED: {tally.failures[-1]}", file=sys.stderr)
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0 when nothing has failed."""
    parser = commands.parser("fuzz", __doc__)
    parser.add_argument("--examples", type=commands.positive, default=20_000, help="calls that are right (20,000)")
    parser.add_argument("--seed", type=commands.positive, default=1, help="of all draws (1)")
    parser.add_argument("--processes", type=commands.positive, default=os.cpu_count() or 1, help="(one per processor)")
    given = commands.parsed(parser, arguments)
    start = time.monotonic()
    tally = run(given.examples, given.seed, given.processes)
    content = {
        "arguments": f"--examples {given.examples} --seed {given.seed}",
        "minutes": round((time.monotonic() - start) / 60, 1),
        "calls": tally.total("outcome"),
        "wrong calls": tally.total("wrong calls"),
        "failures": tally.failures,
        "counts": {heading: dict(sorted(counter.items())) for heading, counter in sorted(tally.counts.items())},
    }
    results.write(given.json, content)
    print(f"{tally.total('outcome'):,} calls, {len(tally.failures)} failures")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    commands.run(main)

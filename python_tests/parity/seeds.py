"""``python -m python_tests.parity.seeds``: do the bounds hold whatever the arguments, and whatever torch's own kernels?

Every row of the table with twenty seeds, in float32 and float64, by each kernel, by the definition and by the plain
statement itself, in a process for each instruction set that torch's libraries are told to take, as stand-ins for other
machines. The result is kept in docs/results/reliability/parity-seeds.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from ..kernels import all_kernels, in_force
from ..packaging.tree import ROOT, commit
from .check import DTYPES, assert_same
from .row import Row
from .rows import ROWS

SEEDS = 20
# How torch's own kernels, oneDNN and MKL are kept from instructions that a processor has.
MACHINES = {
    "as they come": {},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "SSE": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
}
KEPT = ROOT / "docs/results/reliability/parity-seeds.json"


def failures(kernel: str, rows: Sequence[Row]) -> Iterator[str]:
    """What does not hold for one kernel, ``"reference"`` or ``"plain"``, the statement itself in its dtype."""
    for row in rows:
        for seed in range(SEEDS):
            for dtype in DTYPES:
                try:
                    assert_same(row, dtype, seed, who="theirs" if kernel == "plain" else "ours")
                except AssertionError as error:
                    yield f"{row.name}, seed {seed}: {error}"


def counted(only: str) -> dict[str, list[str]]:
    """By kernel: the comparisons that failed."""
    torch.set_num_threads(1)
    found = {}
    rows = [row for row in ROWS if only in ("", row.name)]
    for kernel in ["plain", "reference", *all_kernels()]:
        with in_force("reference" if kernel == "plain" else kernel):
            found[kernel] = list(failures(kernel, rows))
        print(f"{kernel}: {len(found[kernel])} of {len(rows) * SEEDS * len(DTYPES)} failed", file=sys.stderr)
    return found


def main() -> int:
    """The command; returns its exit status: 1 where a bound does not hold."""
    parser = argparse.ArgumentParser(prog="python -m python_tests.parity.seeds", description=__doc__)
    parser.add_argument("--out", metavar="FILE", type=Path, default=KEPT, help="where the result goes")
    parser.add_argument("--row", metavar="NAME", default="", help="this row again, in what FILE has of all")
    parser.add_argument("--count", action="store_true", help="only in this process, as JSON to standard output")
    given = parser.parse_args()
    if given.count:
        print(json.dumps(counted(given.row)))
        return 0
    command = [sys.executable, "-m", "python_tests.parity.seeds", "--count", "--row", given.row]
    running = {
        name: subprocess.Popen(command, env={**os.environ, **variables}, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for name, variables in MACHINES.items()
    }
    machines = {name: json.loads(process.communicate()[0]) for name, process in running.items()}
    facts = {"commit": commit(), "processor": _processor(), "torch": torch.__version__}
    facts |= {"rows": len(ROWS), "seeds": SEEDS, "comparisons of each kernel": len(ROWS) * SEEDS * len(DTYPES)}
    if given.row:
        kept = json.loads(given.out.read_text())
        facts = {**kept, "again": {**kept.get("again", {}), given.row: facts["commit"]}}
        for name, kernels in kept["machines"].items():
            for kernel, failed in kernels.items():
                machines[name][kernel] += [one for one in failed if not one.startswith(f"{given.row}, seed")]
    given.out.write_text(json.dumps({**facts, "machines": machines}, indent=1) + "\n")
    return int(any(failed for kernels in machines.values() for failed in kernels.values()))


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    sys.exit(main())

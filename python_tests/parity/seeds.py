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
from collections.abc import Iterator
from pathlib import Path

import torch

from ..kernels import all_kernels, in_force
from ..packaging.tree import ROOT, commit
from .check import DTYPES, assert_same
from .rows import ROWS

SEEDS = 20
# How torch's own kernels, oneDNN and MKL are kept from instructions that a processor has.
MACHINES = {
    "as they come": {},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "SSE": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
}
KEPT = ROOT / "docs/results/reliability/parity-seeds.json"


def failures(kernel: str) -> Iterator[str]:
    """What does not hold for one kernel, ``"reference"`` or ``"plain"``, the statement itself in its dtype."""
    for row in ROWS:
        for seed in range(SEEDS):
            for dtype in DTYPES:
                try:
                    assert_same(row, dtype, seed, who="theirs" if kernel == "plain" else "ours")
                except AssertionError as error:
                    yield f"{row.name}, seed {seed}: {error}"


def counted() -> dict[str, dict[str, object]]:
    """By kernel: how many comparisons there were, and those that failed."""
    torch.set_num_threads(1)
    found: dict[str, dict[str, object]] = {}
    for kernel in ["plain", "reference", *all_kernels()]:
        with in_force("reference" if kernel == "plain" else kernel):
            found[kernel] = {"comparisons": len(ROWS) * SEEDS * len(DTYPES), "failed": list(failures(kernel))}
        print(f"{kernel}: {len(found[kernel]['failed'])} of {found[kernel]['comparisons']} failed", file=sys.stderr)  # type: ignore[arg-type]
    return found


def main() -> int:
    """The command; returns its exit status: 1 where a bound does not hold."""
    parser = argparse.ArgumentParser(prog="python -m python_tests.parity.seeds", description=__doc__)
    parser.add_argument("--out", metavar="FILE", type=Path, default=KEPT, help="where the result goes")
    parser.add_argument("--count", action="store_true", help="only in this process, as JSON to standard output")
    given = parser.parse_args()
    if given.count:
        print(json.dumps(counted()))
        return 0
    command = [sys.executable, "-m", "python_tests.parity.seeds", "--count"]
    running = {
        name: subprocess.Popen(command, env={**os.environ, **variables}, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for name, variables in MACHINES.items()
    }
    machines = {name: json.loads(process.communicate()[0]) for name, process in running.items()}
    facts = {"commit": commit(), "processor": _processor(), "torch": torch.__version__}
    given.out.write_text(
        json.dumps({**facts, "rows": len(ROWS), "seeds": SEEDS, "machines": machines}, indent=1) + "\n"
    )
    return int(any(one["failed"] for kernels in machines.values() for one in kernels.values()))


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    sys.exit(main())

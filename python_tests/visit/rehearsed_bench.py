"""``python -m python_tests.visit.rehearsed_bench --out DIR``: what ``capsroute bench gpu`` does, on the emulation."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from capsroute.bench.gpu import command
from capsroute.bench.gpu.folder import Folder
from capsroute.bench.gpu.plan import PRECISIONS, Plan
from capsroute.bench.shapes import Shape

from ..bench.gpu.stand_in import CpuDevice, quick

_SMALL = (Shape("mnist", 6, 9, 4, 5, 3, 3, ""), Shape("odd", 5, 7, 3, 4, 6, 4, ""))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m python_tests.visit.rehearsed_bench", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    plan = Plan(_SMALL, [PRECISIONS["float32"]], compare=["eager"])
    device = CpuDevice("cuda_emulated")
    with quick():
        return 0 if command.execute(plan, Folder(given.out), print, device) else 1


if __name__ == "__main__":
    raise SystemExit(main())

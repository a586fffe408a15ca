"""Runs the small tests of the CUDA kernels under compute-sanitizer: ``python -m python_tests.gpu.sanitize``.

Each of its four tools looks for another kind of mistake: accesses outside of memory, races in shared memory, wrong
barriers, and reads of memory that nobody has written. compute-sanitizer comes with the CUDA toolkit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = "compute-sanitizer"
STATUS = 99  # of a process in which it has found something
TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
TESTS = ("python_tests/routing/test_small_calls.py",)
ON_CUDA = ("-m", "kernels")
# The allocator's cache would hide accesses between tensors and keep old contents; each tensor gets memory of its own.
ENVIRONMENT = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1", "CAPSROUTE_KERNELS": "cuda"}


def prefix(sanitizer: str, tool: str) -> list[str]:
    """What stands before a command that is to run under one tool."""
    return [sanitizer, "--tool", tool, "--error-exitcode", str(STATUS), "--target-processes", "all"]


def command(sanitizer: str, tool: str, tests: Sequence[str]) -> list[str]:
    """What runs the tests under one tool."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *ON_CUDA]
    return [*prefix(sanitizer, tool), *pytest, *tests]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the tools in turn; returns 0 when none has found anything."""
    parser = argparse.ArgumentParser(description="Run the tests of the CUDA kernels under compute-sanitizer.")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=TOOLS, help="which to run (all)")
    parser.add_argument("tests", nargs="*", default=TESTS, help="what pytest runs (small tests of routing)")
    given = parser.parse_args(arguments)
    sanitizer = shutil.which(NAME) or shutil.which(NAME, path="/usr/local/cuda/bin")
    if sanitizer is None:
        print(f"{NAME} was not found: it comes with the CUDA toolkit; put its folder on PATH")
        return 2
    failed = []
    for tool in given.tools:
        print(f"== {tool}", flush=True)
        done = subprocess.run(
            command(sanitizer, tool, given.tests), cwd=ROOT, env={**os.environ, **ENVIRONMENT}, check=False
        )
        if done.returncode != 0:
            failed.append(tool)
    print(f"found something: {', '.join(failed)}" if failed else "nothing was found")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Keeps what libFuzzer said: ``scripts/fuzz-core 240 2>&1 | tee LOG``, then this module with LOG."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from python_tests.reliability import results

OUT = results.FOLDER / "fuzz-core.json"
_PATTERNS = {
    "executions": r"stat::number_of_executed_units: (\d+)",
    "seconds": r"Done \d+ runs in (\d+) second",
    "counters covered": r"DONE +cov: (\d+)",
    "features": r"DONE +cov: \d+ ft: (\d+)",
    "inputs kept": r"DONE .* corp: (\d+)",
    "counters": r"Loaded 1 modules +\((\d+) inline",
    "slowest s": r"stat::slowest_unit_time_sec: +(\d+)",
    "peak MiB": r"stat::peak_rss_mb: +(\d+)",
}


def figures(log: str) -> dict[str, Any]:
    """The numbers in a log.

    Raises:
        ValueError: It is no log of a run that came to its end or to a failure.
    """
    found = {name: re.findall(pattern, log) for name, pattern in _PATTERNS.items()}
    if not found["executions"] or not found["counters"]:
        raise ValueError("this is no whole log of scripts/fuzz-core")
    processor = re.findall(r"^processor seconds: ([\d.]+)", log, re.MULTILINE)
    crashes = len(re.findall(r"Test unit written to", log))
    return {
        **{name: int(values[-1]) for name, values in found.items() if values},
        "processor seconds": float(processor[-1]) if processor else None,
        "crashes": crashes,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0 where there was no crash."""
    parser = argparse.ArgumentParser(prog="python -m python_tests.reliability.fuzz.core", description=__doc__)
    parser.add_argument("log", type=Path, help="what scripts/fuzz-core printed")
    parser.add_argument("--json", type=Path, default=OUT, help=f"where to write the figures ({OUT})")
    given = parser.parse_args(arguments)
    try:
        found = figures(given.log.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    results.write(given.json, found)
    print(found)
    return 1 if found["crashes"] else 0


if __name__ == "__main__":
    sys.exit(main())

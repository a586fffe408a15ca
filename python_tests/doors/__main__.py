"""``python -m python_tests.doors [--json FILE] [--only TEXT]``: tries every cell, which takes half an hour."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from python_tests.reliability import results

from . import page
from .columns import COLUMNS
from .table import DOORS


def main(arguments: list[str] | None = None) -> int:
    """Write the table; the exit status is 1 where a cell is not what it must be."""
    parser = argparse.ArgumentParser(prog="python -m python_tests.doors", description="Try every model at every door.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the cells here, beside those of other doors")
    parser.add_argument("--only", default="", metavar="TEXT", help="doors with this in their name")
    given = parser.parse_args(arguments)
    cache = tempfile.TemporaryDirectory()  # programs of an earlier state of the ops must not be found
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache.name
    rows, wrong = [], 0
    for name, door in DOORS.items():
        if given.only not in name:
            continue
        cells = {}
        for column in COLUMNS:
            begun = time.perf_counter()
            cells[column] = door.judge(column)
            wrong += cells[column].partition(":")[0] != door.expected(column)
            print(f"{time.perf_counter() - begun:6.1f} s  {name}, {column}: {cells[column]}", flush=True)
        rows.append({"door": name, "package": door.package, "cells": cells})
    if given.json is not None and given.json.exists():
        results.update(given.json, {"doors": rows}, ["door"])
    else:
        results.write(given.json, {"versions": page.versions(), "doors": rows})
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

"""The source tree, and how a build is run on its own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD_VARIABLES = ("CAPSROUTE_", "MAX_JOBS", "PYTHONPATH")


def clean_environment(**changes: str) -> dict[str, str]:
    """The environment without what steers a build, and with `changes`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(BUILD_VARIABLES)}
    return kept | changes


@dataclass(frozen=True)
class Distributions:
    sdist: Path
    wheel: Path

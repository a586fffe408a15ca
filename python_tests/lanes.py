"""How much of the suite runs: ``CAPSROUTE_LANE`` is ``test`` (every change; the default) or ``all`` (nights, releases).

What only ``all`` has is marked ``nightly``: the same code on further sizes, draws or processors, and whatever takes
minutes. A fault that ``test`` would not see is no reason to be there: see docs/reliability.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

LANES = ("test", "all")
LANE = os.environ.get("CAPSROUTE_LANE", "test")
if LANE not in LANES:
    raise ValueError(f"CAPSROUTE_LANE must be one of {', '.join(LANES)}, got {LANE!r}")
EVERYTHING = LANE == "all"


def sampled(whole: Sequence[T], step: int) -> list[T]:
    """Every ``step``-th of a list, for each change; all of it in the night."""
    return list(whole if EVERYTHING else whole[::step])

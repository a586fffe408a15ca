"""How much of the suite runs, by ``CAPSROUTE_LANE``.

``test``, the default, is for every change. ``check`` has a few cases of each kind, for the hand. ``all`` is for the
night and a release; what only it has is marked ``nightly``: the same code on further sizes, draws or processors, and
whatever takes minutes. A fault that ``test`` would not see does not belong there: docs/reliability/mutations.md.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

LANES = ("check", "test", "all")
LANE = os.environ.get("CAPSROUTE_LANE", "test")
if LANE not in LANES:
    raise ValueError(f"CAPSROUTE_LANE must be one of {', '.join(LANES)}, got {LANE!r}")
EVERYTHING = LANE == "all"
FEW = LANE == "check"


def sampled(whole: Sequence[T], step: int) -> list[T]:
    """Every ``step``-th of a list, for each change; all of it in the night."""
    return list(whole if EVERYTHING else whole[::step])

"""How much of the suite runs: ``CAPSROUTE_LANE`` is ``test`` (each change; the default) or ``all`` (the night, a release).

What only ``all`` has is marked ``nightly``: the same code on further sizes, draws or processors, and whatever takes
minutes. A fault that ``test`` would not see is no reason to be there: see docs/reliability.
"""

from __future__ import annotations

import os

LANES = ("test", "all")
LANE = os.environ.get("CAPSROUTE_LANE", "test")
if LANE not in LANES:
    raise ValueError(f"CAPSROUTE_LANE must be one of {', '.join(LANES)}, got {LANE!r}")
EVERYTHING = LANE == "all"

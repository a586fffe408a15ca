"""All that a run finds."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

from capsroute.bench.timing import Timing
from capsroute.training.paths import AnyPath, as_path

from .ceilings import Ceilings, Floor
from .correctness import Check
from .meter import Figures
from .timings import Row, failed


@dataclass
class Record:
    """What is known so far.

    Attributes:
        environment: Machine, device, versions.
        ceilings: Limits of the device, once they are measured.
        checks: See :mod:`.correctness`.
        rows: See :mod:`.timings`.
        states: Clocks and temperatures, each with the moment that it belongs to.
        notes: What was left out.
        faults: What went wrong beside the checks.
        finished: Whether the run came to its end.
    """

    environment: dict[str, Any]
    ceilings: Ceilings | None = None
    checks: list[Check] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    finished: bool = False

    @classmethod
    def read(cls, path: AnyPath) -> Record:
        """What an earlier run left in its ``gpu.json``."""
        path = as_path("path", path)
        content = json.loads(path.read_text(encoding="utf-8"))
        content["ceilings"] = content["ceilings"] and Ceilings(**content["ceilings"])
        content["checks"] = [_check(**check) for check in content["checks"]]
        content["rows"] = [_row(**row) for row in content["rows"]]
        return cls(**content)

    @property
    def sound(self) -> bool:
        """Whether every check passed and every call of the package worked."""
        wrong = any(check.passed is False for check in self.checks)
        return not (self.faults or wrong or any(map(failed, self.rows)))


def _check(excess: dict[str, float | None], **others: Any) -> Check:
    """The infinity of a wrong result is null in the file, for which JSON has no number."""
    return Check(excess={name: math.inf if e is None else e for name, e in excess.items()}, **others)


def _row(floor: dict[str, Any], figures: dict[str, Any] | None, **others: Any) -> Row:
    found = None if figures is None else Figures(**{**figures, "kernel": Timing(**figures["kernel"])})
    return Row(floor=Floor(**floor), figures=found, **others)

"""All that a run found, and the JSON file that holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from capsroute.training.paths import AnyPath

from . import environment as machine
from . import files
from .ceilings import Ceilings
from .contenders import is_sound
from .suite import Row
from .sweep import Point
from .training_suite import Row as TrainingRow


@dataclass
class Record:
    """A run so far.

    Attributes:
        environment: See :mod:`.environment`; its ``capsroute.cpu_isa`` is the instruction set in use.
        ceilings: The limits of the machine.
        rows: Of the shapes of the table.
        swept: Of the sweeps, with the place of each row on its axis.
    """

    environment: dict[str, Any]
    ceilings: Ceilings
    rows: list[Row] = field(default_factory=list)
    swept: list[tuple[Point, Row]] = field(default_factory=list)

    @property
    def headline(self) -> str:
        """Machine, versions and limits in two lines."""
        return f"{machine.headline(self.environment)}\n{self.ceilings.headline}"

    @property
    def sound(self) -> bool:
        """Whether every result of the package was right."""
        return is_sound([*self.rows, *(row for _, row in self.swept)])

    def write(self, path: AnyPath) -> None:
        """Write all of it as JSON; a row of a sweep has ``axis`` and ``value`` besides its own fields."""
        content = {
            "environment": self.environment,
            "ceilings": asdict(self.ceilings),
            "rows": [asdict(row) for row in self.rows],
            "sweeps": [asdict(point) | asdict(row) for point, row in self.swept],
        }
        files.write_json(path, content)


def write_training(path: AnyPath, environment: dict[str, Any], rows: Sequence[TrainingRow]) -> None:
    """Write all of a run of training steps as JSON."""
    files.write_json(path, {"environment": environment, "rows": [asdict(row) for row in rows]})

"""What is known so far, in files that survive whatever ends the process."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from capsroute.bench import files


@dataclass
class State:
    """What is known of one piece.

    Attributes:
        verdict: ``"open"``, ``"right"``, ``"wrong"`` or ``"left out"``.
        calls: How often it was begun.
        seconds: All of them together.
        note: Why it is wrong or left out, or how far it came.
    """

    verdict: str = "open"
    calls: int = 0
    seconds: float = 0.0
    note: str = ""


@dataclass
class VisitRecord:
    """``visit.json``.

    Args:
        folder: Where it lies.
        environment: Machine, device, versions, commit; from the first call that wrote it.
        pieces: By name.
    """

    folder: Path
    environment: dict[str, Any] = field(default_factory=dict)
    pieces: dict[str, State] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> VisitRecord:
        """What earlier calls left in the folder, or nothing."""
        path = folder / "visit.json"
        if not path.exists():
            return cls(folder)
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(folder, content["environment"], {name: State(**state) for name, state in content["pieces"].items()})

    def write(self) -> None:
        """Replace the file."""
        content = {
            "environment": self.environment,
            "pieces": {name: asdict(state) for name, state in self.pieces.items()},
        }
        files.write_json(self.folder / "visit.json", content)

"""A stored baseline of ratios, by which a later run sees that the package has become slower than it was.

Ratios to the peers of the same run are kept, not times: they depend on the machine far less.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from capsroute.training.paths import AnyPath, as_path

from . import files
from .contenders import OURS
from .peers import FAMILIES
from .suite import Row, title

LOSS = 0.2  # that is too much


@dataclass(frozen=True)
class Ratios:
    """How many times longer the peers take, for one shape and pass.

    Attributes:
        shape: Name of the shape.
        passes: ``"forward"`` or ``"forward+backward"``.
        gradient: As in :class:`.suite.Row`.
        eager: The fastest eager peer's time over that of the package; None if one of them was not timed.
        compile: The same of the fastest compiled peer.
    """

    shape: str
    passes: str
    gradient: str | None
    eager: float | None
    compile: float | None


@dataclass(frozen=True)
class Baseline:
    """What is stored.

    Attributes:
        environment: Where it was measured.
        dtype: Of the arguments.
        ratios: One entry per shape and pass.
    """

    environment: dict[str, Any]
    dtype: str
    ratios: tuple[Ratios, ...]

    @classmethod
    def of(cls, environment: dict[str, Any], dtype: str, rows: Sequence[Row]) -> Baseline:
        """The ratios of a run."""
        return cls(environment, dtype, tuple(ratios_of(rows)))

    def write(self, path: AnyPath) -> None:
        """Store it."""
        files.write_json(path, asdict(self))

    @classmethod
    def read(cls, path: AnyPath) -> Baseline:
        """What :meth:`write` stored.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is no baseline.
        """
        path = as_path("path", path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            ratios = tuple(Ratios(**entry) for entry in content["ratios"])
            return cls(content["environment"], content["dtype"], ratios)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{str(path)!r} holds no baseline ({error})") from None


@dataclass(frozen=True)
class Verdict:
    """A run beside a baseline.

    Attributes:
        compared: How many ratios are in both.
        losses: A sentence for each of them that is too low.
    """

    compared: int
    losses: tuple[str, ...]


def ratios_of(rows: Sequence[Row]) -> list[Ratios]:
    """The ratios of a run, for each shape and pass in which the package was measured."""
    return [
        Ratios(row.shape, row.passes, row.gradient, row.speedup, row.compile_speedup)
        for row in rows
        if row.contender == OURS
    ]


def compare(baseline: Baseline, rows: Sequence[Row]) -> Verdict:
    """Hold a run to a baseline. What is in one of them only is passed over."""
    stored = {(entry.shape, entry.gradient): entry for entry in baseline.ratios}
    compared, losses = 0, []
    for now in ratios_of(rows):
        before = stored.get((now.shape, now.gradient))
        for family in FAMILIES:
            ratio, wanted = getattr(now, family), getattr(before, family, None)
            if ratio is None or wanted is None:
                continue
            compared += 1
            if ratio < (1 - LOSS) * wanted:
                losses.append(
                    f"{now.shape}, {title(now.passes, now.gradient)}: {ratio:.3g} times as fast as the best {family} "
                    f"peer, {wanted:.3g} times in the baseline, a loss of {1 - ratio / wanted:.0%}."
                )
    return Verdict(compared, tuple(losses))
